"""``python -m tests.first_hour`` walks each kind of model, judge and prompt file once, and prints a line a case."""

import argparse
import os
import sys
import tempfile
import traceback
from pathlib import Path

from tests.first_hour.walk import Case, all_cases, models_alone, others, walk


def main() -> int:
    """Print a line for each case and return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.first_hour", description=__doc__)
    parser.add_argument("words", nargs="?", default="", help="only the cases whose name has these words")
    parser.add_argument("--all", action="store_true", help="all combinations, in an order drawn once")
    parser.add_argument("--limit", type=int, help="only the first of these cases")
    given = parser.parse_args()
    os.environ["TEST_JUDGE_KEY"] = "a-very-secret-key"
    cases = all_cases() if given.all else [*models_alone(), *others()]
    chosen = [case for case in cases if given.words in str(case)][: given.limit]
    with tempfile.TemporaryDirectory() as models:
        failed = sum(not passed(case, Path(models)) for case in chosen)
    print(f"{len(chosen) - failed} of {len(chosen)} cases passed")
    return 1 if failed else 0


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
    sys.exit(main())
