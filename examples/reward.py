"""Rewards of your own: functions that score a batch of texts, named as examples/reward.py:FUNCTION."""


def short(problems, texts):
    """1 for an empty text, 0 for 400 characters and more."""
    return [max(0.0, 1 - len(text) / 400) for text in texts]


def reward(problems, texts):
    """Found without a name. One share for each number of the problem that the text mentions; None: nothing to say."""
    scores = []
    for problem, text in zip(problems, texts, strict=True):
        numbers = [word.strip(".,?!") for word in problem.split() if word.strip(".,?!").isdigit()]
        scores.append(sum(number in text for number in numbers) / len(numbers) if numbers else None)
    return scores


def right(prompts, completions, answer, **columns):
    """The form of TRL's reward functions. ``answer`` is the column of gold answers, which training has."""
    return [float(text.rstrip(" .").endswith(str(gold))) for text, gold in zip(completions, answer, strict=True)]
