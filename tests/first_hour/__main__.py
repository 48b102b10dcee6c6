"""``python -m tests.first_hour [WORDS]`` walks all cases, or those whose name has the words; one line a case."""

import os
import sys
import tempfile
import traceback
from pathlib import Path

from tests.first_hour.walk import Case, cases, walk


def main(words: str) -> int:
    """Print a line for each case and return the number of failures."""
    os.environ["TEST_JUDGE_KEY"] = "a-very-secret-key"
    with tempfile.TemporaryDirectory() as models:
        return sum(not passed(case, Path(models)) for case in cases() if words in str(case))


def passed(case: Case, models: Path) -> bool:
    """Walk the case in a folder of its own and print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CYCLEALIGN_HOME"] = str(Path(folder) / "home")
        try:
            print("ok    ", walk(case, Path(folder), models), flush=True)
            return True
        except Exception as error:
            print("FAILED", case, f"{type(error).__name__}: {error}", flush=True)
            traceback.print_exc()
            return False


if __name__ == "__main__":
    sys.exit(1 if main(" ".join(sys.argv[1:])) else 0)
