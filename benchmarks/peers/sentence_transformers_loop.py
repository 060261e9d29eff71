"""The loop that the peer's own interpreter runs: for each line of input, it predicts for that many seconds.

Usage: ``python sentence_transformers_loop.py MODEL CALLS.json``; a line of input is a number of seconds, the answer
`pairs seconds processor_seconds`.
"""

import json
import sys
import time
from pathlib import Path

from sentence_transformers import CrossEncoder


def main() -> None:
    """Answer each line."""
    model = CrossEncoder(sys.argv[1], device="cpu")
    calls = [[(query, text) for text in texts] for query, texts in json.loads(Path(sys.argv[2]).read_text())]
    number = 0
    for line in sys.stdin:
        began, processor, pairs = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() < began + float(line):
            model.predict(calls[number % len(calls)], show_progress_bar=False)
            pairs += len(calls[number % len(calls)])
            number += 1
        print(pairs, time.perf_counter() - began, time.process_time() - processor, flush=True)


if __name__ == "__main__":
    main()
