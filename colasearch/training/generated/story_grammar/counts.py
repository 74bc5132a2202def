"""Stories of one count: it changes, it has parts, it is compared with another."""

from __future__ import annotations

from colasearch.training.generated.story_grammar.draw import Draw, Story, capital
from colasearch.training.generated.story_grammar.parts import COMPARISONS, SCENES, Scene


def changes(d: Draw) -> Story:
    """A number that events make larger or smaller, one to three times; the result is asked for."""
    scene: Scene = d.rng.choice(SCENES)
    total = d.num(3, 100)
    opening = d.say(scene.open, a=total)
    events, steps = [], []
    for _ in range(d.rng.choice((1, 2, 2, 2, 2, 3))):
        if total < 2 or d.rng.random() < 0.5:
            x = d.num(2, 60)
            events.append(d.say(scene.gain, x=x))
            steps.append(f"{d.pick('With|Adding')} {x} it is {total} + {x} = {total + x}.")
            total += x
        else:
            x = d.num(1, total - 1)
            events.append(d.say(scene.loss, x=x))
            steps.append(f"{d.pick('Without|Taking away')} {x} it is {total} - {x} = {total - x}.")
            total -= x
    return Story(*_told(d, scene, opening, events), steps, total)


def _told(d: Draw, scene: Scene, opening: str, events: list[str]) -> tuple[list[str], str]:
    """Sentences and question of a story with events."""
    shape = d.rng.randrange(4)
    ask, would = d.say(scene.ask), d.say(scene.would)
    if shape == 0:  # what if
        joined = d.pick(", and then | and then | and |, but then ").join(events)
        return [capital(opening) + "."], f"If {joined}, {would}?"
    if shape == 1:  # all in one breath
        *first, last = [opening, *events]
        return [capital(", ".join(first)) + f"{d.pick((', and ', ', and then ', ', and later '))}{last}."], capital(
            ask
        ) + "?"
    then = ("", "Then ", "Later ", "After that ", "The next day ", "On {day} ", "In the end ")
    told = [capital(opening) + "."]
    for number, event in enumerate(events):
        told.append(capital(d.say(then if number else ("", "", "On {day} ", "Then ")) + event) + ".")
    if shape == 2 and len(events) > 1:
        told[-2:] = [told[-2][:-1] + d.pick((", and ", " and then ", ", but later ")) + events[-1] + "."]
    return told, capital(d.pick(("", "", "in the end, ")) + ask) + "?"


def what_changed(d: Draw) -> Story:
    """What was there before or what the event was is asked for."""
    a = d.num(5, 100)
    x = d.num(2, a - 1)
    rest = a - x
    if d.rng.random() < 0.5:
        body = [
            d.sentence("{n} had {a} {o}|There were {a} {o} in {n}'s room|{n} began the day with {a} {o}", a=a),
            d.sentence("{he} gave some of them to {m}|some of them were lost|{m} borrowed some|{he} sold some", a=a),
            d.sentence("Now {rest} are left|{n} has {rest} left|there are {rest} now", rest=rest),
        ]
        question = d.say("How many {o} are gone?|How many {o} was that?|How many {o} did {n} part with?")
        return Story(body, question, [f"The difference is {a} - {rest} = {x}."], x)
    if d.rng.random() < 0.5:
        body = [
            d.sentence("{n} has {rest} {o}|{n} has saved {rest} {o} so far", rest=rest),
            d.sentence("{he} wants to have {a}|{he} needs {a} in all|the goal is {a}", a=a),
        ]
        question = d.say("How many more {o} does {he} need?|How many {o} are missing?|How many must {he} still get?")
        return Story(body, question, [f"The difference is {a} - {rest} = {x}."], x)
    body = [
        d.sentence("{n} gave {x} {o} to {m}|{n} used {x} of {his} {o}|{n} sold {x} {o}", x=x),
        d.sentence("now {he} has {rest} left|{rest} {o} remain|after that {he} has {rest} {o}", rest=rest),
    ]
    question = d.say(
        "How many {o} did {n} have at first?|How many {o} were there before?|With how many did {he} begin?"
    )
    return Story(body, question, [f"Before, it was {rest} + {x} = {a}."], a)


def parts(d: Draw) -> Story:
    """Two or three parts and their sum, or a sum and all parts but one."""
    a, b, c = d.num(2, 80), d.num(2, 80), d.num(2, 60)
    kind = d.rng.randrange(4)
    if kind == 0:
        body = [
            d.sentence(
                "{n} has {a} {kind} {o} and {b} {kind2} {o}"
                "|there are {a} {kind} and {b} {kind2} {o} in a {h}'s bag"
                "|{n} counted {a} {kind} {o} and {b} {kind2} ones"
                "|a {h} sold {a} {kind} {o} and {b} {kind2} {o}",
                a=a,
                b=b,
            )
        ]
        question = d.say(
            "How many {o} is that in all?|How many {o} are there altogether?|What is the total number of {o}?"
        )
        return Story(body, question, [f"Together it is {a} + {b} = {a + b}."], a + b)
    if kind == 1:
        body = [
            d.sentence(
                "{n} {did} {a} {o} on {day} and {b} on {day2}|on {day} {n} {did} {a} {o}, and on {day2} {he} {did} {b}",
                a=a,
                b=b,
                did=d.pick("sold|picked|made|counted|found|packed"),
            )
        ]
        steps = [f"Together it is {a} + {b} = {a + b}."]
        if d.rng.random() < 0.5:
            return Story(
                body, d.say("How many {o} were there on the two days?|How many {o} is that in total?"), steps, a + b
            )
        body.append(d.sentence("{m} got {c} more than {n}'s total|the day after there were {c} more", c=c))
        if "day after" in body[-1]:
            steps.append(f"With {c} it is {a + b} + {c} = {a + b + c}.")
            return Story(
                body,
                d.say("How many {o} were there on the three days together?|How many {o} is that in all?"),
                steps,
                a + b + c,
            )
        steps.append(f"With {c} more it is {a + b} + {c} = {a + b + c}.")
        return Story(body, d.say("How many {o} did {m} get?|How many {o} is that for {m}?"), steps, a + b + c)
    total = a + b + (c if kind == 3 else 0)
    body = [
        d.sentence(
            "{n} has {total} {o}|there are {total} {o} on a shelf|{total} {o} were delivered|a {h} keeps {total} {o}",
            total=total,
        )
    ]
    if kind == 2:
        body.append(
            d.sentence("{a} of them are {kind}|{a} are {kind}, and the others are {kind2}|of these {a} are {kind}", a=a)
        )
        question = d.say("How many are not {kind}?|How many {o} are not {kind}?|How many others are there?")
        return Story(body, question, [f"The others are {total} - {a} = {b}."], b)
    body.append(d.sentence("{a} of them are {kind} and {b} are {kind2}|{a} are {kind}, {b} are {kind2}", a=a, b=b))
    question = d.say(
        "How many are neither {kind} nor {kind2}?|The rest are grey. How many are grey?|How many others are there?"
    )
    steps = [f"Those are {a} + {b} = {a + b}.", f"The others are {total} - {a + b} = {c}."]
    return Story(body, question, steps, c)


def comparison(d: Draw) -> Story:
    """Two numbers, one told by the other; the other, both or the difference is asked for."""
    how = d.rng.choice(("more", "fewer", "times"))
    a = d.num(4, 60)
    x = d.num(2, 9) if how == "times" else d.num(2, a - 1)
    told = d.rng.choice(COMPARISONS)
    body = [
        d.sentence(told.first, a=a),
        d.sentence({"more": told.more, "fewer": told.fewer, "times": told.times}[how], x=x),
    ]
    if d.rng.random() < 0.3:
        body.reverse()
    sign, other = {"more": ("+", a + x), "fewer": ("-", a - x), "times": ("*", a * x)}[how]
    steps = [
        f"{d.words['m']} has {a} {sign} {x} = {other}."
        if told.has
        else f"For {d.words['m']} it is {a} {sign} {x} = {other}."
    ]
    if d.rng.random() < 0.5:
        return Story(body, d.say(told.other), steps, other)
    if how == "times" and d.rng.random() < 0.4:
        return Story(body, d.say(told.apart), [*steps, f"The difference is {other} - {a} = {other - a}."], other - a)
    return Story(body, d.say(told.both), [*steps, f"Together it is {a} + {other} = {a + other}."], a + other)
