"""Names of all benchmarks with a line of help each, and of the baselines; nothing is imported here."""

BENCHMARKS = {
    "aime24": "AIME 2024, 30 problems.",
    "aime25": "AIME 2025, 30 problems.",
    "amc23": "AMC 12 of 2023, 40 problems.",
    "asdiv": "ASDiv, 2,305 elementary-school word problems.",
    "countdown": "Countdown with 3 or 4 numbers, 500 held-out problems made on the spot.",
    "countdown-5": "Countdown with 5 numbers, 500 held-out problems made on the spot.",
    "countdown-hard": "Countdown with 5 or 6 numbers and targets to 999, 500 held-out problems made on the spot.",
    "game24": "Game of 24, 1,362 problems.",
    "gsm8k": "GSM8K test, 1,319 grade-school word problems.",
    "math": "MATH test, 5,000 competition problems.",
    "math500": "MATH-500, 500 competition problems.",
    "minerva": "Minerva OCW courses, 272 problems.",
    "olympiadbench": "OlympiadBench, 674 text-only English mathematics problems.",
    "svamp": "SVAMP, 1,000 one-step word problems.",
}

ROWS = "rows"
"""The benchmark that is whatever rows ``--data`` has; ``bench --data FILE`` is short for it."""
ROWS_HELP = "Rows of your own, by --task, which may be a file (docs/tasks.md)."
CHOOSERS = ("majority", "best_of_n", "weighted_vote")
"""Arms that choose among the same independent texts."""
BASELINES = ("greedy", *CHOOSERS)
"""Arms that decode texts from the prompt on; all others are searchers."""
SCORED = ("best_of_n", "weighted_vote")
"""Those of ``CHOOSERS`` that look at a score of each text."""
