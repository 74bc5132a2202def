"""Stories of equal groups: packs, shares, prices, paces; and bare arithmetic."""

from __future__ import annotations

from colasearch.training.generated.story_grammar.draw import Draw, Story
from colasearch.training.generated.story_grammar.parts import CREWS, JOBS, PACKS


def packs(d: Draw) -> Story:
    """Packs of things: so many packs after a change, or so many things to pack."""
    pack = d.rng.choice(PACKS)
    w = {"p": pack.packs, "p1": pack.pack, "i": pack.items, "holds": pack.holds}
    kind = d.rng.randrange(7)
    each = (
        "each {p1} {holds} {c} {i}",
        "every {p1} {holds} {c} {i}",
        "there are {c} {i} for each {p1}",
        "one {p1} {holds} {c} {i}",
    )
    if kind < 2:  # (a + b) * c, (a - b) * c
        c, a = d.num(2, 12), d.num(3, 15)
        b = d.num(1, 12) if kind == 0 else d.num(1, a - 1)
        packs = a + b if kind == 0 else a - b
        body = [d.sentence(pack.two if kind == 0 else pack.fewer, a=a, b=b, **w), d.sentence(each, c=c, **w)]
        steps = [
            f"The {w['p']} are {a} {'+' if kind == 0 else '-'} {b} = {packs}.",
            f"That makes {packs} * {c} = {packs * c} {w['i']}.",
        ]
        return Story(_mixed(d, body), d.say(pack.how_many_items, **w), steps, packs * c)
    if kind < 4:  # (a + b) / c, (a - b) / c
        c, r = d.num(2, 10), d.num(2, 12)
        b = d.num(1, c * r - 1) if kind == 2 else d.num(1, 40)
        a = c * r - b if kind == 2 else c * r + b
        body = [
            d.sentence(pack.items_two if kind == 2 else pack.items_fewer, a=a, b=b, **w),
            d.sentence(each, c=c, **w),
        ]
        steps = [
            f"The {w['i']} are {a} {'+' if kind == 2 else '-'} {b} = {c * r}.",
            f"The {w['p']} are {c * r} / {c} = {r}.",
        ]
        return Story(body, d.say(pack.how_many_packs, **w), steps, r)
    a, c = d.num(2, 12), d.num(2, 12)
    if kind == 4:
        body = [d.sentence("there are {a} {p}|{n} sees {a} {p}|they use {a} {p}", a=a, **w), d.sentence(each, c=c, **w)]
        return Story(
            _mixed(d, body), d.say(pack.how_many_items, **w), [f"That makes {a} * {c} = {a * c} {w['i']}."], a * c
        )
    if kind == 5:
        body = [
            d.sentence("there are {t} {i}|they have {t} {i}|{n} counts {t} {i}", t=a * c, **w),
            d.sentence(each, c=c, **w),
        ]
        return Story(_mixed(d, body), d.say(pack.how_many_packs, **w), [f"The {w['p']} are {a * c} / {c} = {a}."], a)
    body = [
        d.sentence(
            "{t} {i} are for {a} {p}, the same number for each"
            "|there are {a} {p} and {t} {i}, as many in one as in another",
            t=a * c,
            a=a,
            **w,
        )
    ]
    return Story(
        body,
        d.say("How many {i} are there for one {p1}?|How many {i} is that for each {p1}?", **w),
        [f"Each has {a * c} / {a} = {c} {w['i']}."],
        c,
    )


def _mixed(d: Draw, body: list[str]) -> list[str]:
    return body[::-1] if d.rng.random() < 0.25 else body


def shares(d: Draw) -> Story:
    """Things are shared by people, after a change."""
    c, r = d.num(2, 10), d.num(2, 14)
    kind = d.rng.randrange(3)
    total = c * r
    if kind == 0:
        body, steps = [d.sentence("{n} has {a} {o}|{n} brought {a} {o}|there are {a} {o}", a=total)], []
    elif kind == 1:
        b = d.num(1, total - 1)
        body = [
            d.sentence(
                "{n} has {a} {o} and {m} has {b}|{n} baked {a} rolls and {m} baked {b}"
                "|{n} found {a} {o}, then {b} more"
                "|{n} has {a} {kind} {o} and {b} {kind2} {o}",
                a=total - b,
                b=b,
            )
        ]
        steps = [f"In all there are {total - b} + {b} = {total}."]
    else:
        b = d.num(1, 40)
        body = [
            d.sentence(
                "{n} had {a} {o}, but {b} of them broke|{n} has {a} {o} and keeps {b} of them"
                "|of {a} {o}, {b} were bad"
                "|{n} bought {a} {o} and used {b}",
                a=total + b,
                b=b,
            )
        ]
        steps = [f"Left are {total + b} - {b} = {total}."]
    body.append(
        d.sentence(
            "{c} {g} share {them} equally|{them} are split evenly among {c} {g}|{he} divides {them} among {c} {g}",
            c=c,
            them="them" if kind == 0 else d.pick("them|what there is") if kind == 1 else "the rest",
        )
    )
    body[-1] = (
        body[-1]
        .replace("Them are", "They are")
        .replace("The rest are", "The rest is")
        .replace("What there is are", "All is")
    )
    question = d.say("How many does each of them get?|How many are there for each?|How many will one of the {g} have?")
    return Story(body, question, [*steps, f"Each gets {total} / {c} = {r}."], r)


def money(d: Draw) -> Story:
    """Buying, saving, earning."""
    kind = d.rng.randrange(6)
    price, a, b = d.num(2, 12), d.num(2, 12), d.num(2, 12)
    if kind == 0:
        other = d.num(2, 15)
        body = [
            d.sentence(
                "{n} bought {a} {o} for ${p} each and {b} {q} for ${e} each"
                "|{a} {o} at ${p} each and {b} {q} at ${e} each were sold",
                a=a,
                b=b,
                p=price,
                e=other,
            )
        ]
        steps = [
            f"First, {a} * {price} = {a * price}.",
            f"Second, {b} * {other} = {b * other}.",
            f"Together it is {a * price} + {b * other} = {a * price + b * other}.",
        ]
        return Story(
            body,
            d.say("How many dollars is that in all?|How much money is that in total?"),
            steps,
            a * price + b * other,
        )
    if kind == 1:
        body = [
            d.sentence(
                "{n} bought {a} {o}, and {m} bought {b}|{n} bought {a} {kind} {o} and {b} {kind2} {o}", a=a, b=b
            ),
            d.sentence("each one cost ${p}|they cost ${p} each|the price of one is ${p}", p=price),
        ]
        steps = [f"The {d.words['o']} are {a} + {b} = {a + b}.", f"They cost {a + b} * {price} = {(a + b) * price}."]
        return Story(
            body, d.say("How much did they cost together?|How many dollars were spent?"), steps, (a + b) * price
        )
    if kind < 4:
        r, sign = d.num(2, 12), 1 if kind == 2 else -1
        total = price * r
        x = d.num(1, total - 1) if sign > 0 else d.num(1, 40)
        start = total - sign * x
        body = [
            d.sentence(
                "{n} had ${a} and earned ${x} more by helping a {h}|{n} saved ${a} and got ${x} from {m}"
                if sign > 0
                else "{n} had ${a} and spent ${x} on a gift|{n} saved ${a} but lost ${x}",
                a=start,
                x=x,
            ),
            d.sentence("one {o1} costs ${p}|{o} cost ${p} each", p=price),
        ]
        steps = [f"The money is {start} {'+' if sign > 0 else '-'} {x} = {total}.", f"It buys {total} / {price} = {r}."]
        return Story(body, d.say("How many {o} can {he} buy?|How many {o} does the money buy?"), steps, r)
    job, jobs = d.rng.choice(JOBS)
    if kind == 4:
        a += b
        body = [
            d.sentence("{n} gets ${p} for each {job}|{n} is paid ${p} for every {job}", p=price, job=job),
            d.sentence(
                "{he} had {a} {jobs} planned, but {b} were called off|of {a} {jobs}, {he} left out {b}",
                a=a,
                b=b,
                jobs=jobs,
            ),
        ]
        steps = [f"The {jobs} are {a} - {b} = {a - b}.", f"That pays {a - b} * {price} = {(a - b) * price}."]
        return Story(body, d.say("How much does {he} earn?|How many dollars does {n} get?"), steps, (a - b) * price)
    body = [
        d.sentence("{n} did {a} {jobs} on {day} and {b} on {day2}", a=a, b=b, jobs=jobs),
        d.sentence("{he} gets ${p} for each|each one pays ${p}", p=price),
    ]
    steps = [f"The {jobs} are {a} + {b} = {a + b}.", f"That pays {a + b} * {price} = {(a + b) * price}."]
    return Story(body, d.say("How much does {n} earn?|How many dollars is that?"), steps, (a + b) * price)


def pace(d: Draw) -> Story:
    """So much in each unit of time."""
    work, units = d.rng.choice(CREWS)
    a, c = d.num(2, 12), d.num(2, 15)
    if d.rng.random() < 0.5:
        b = d.num(2, 40)
        body = [
            d.sentence(work, c=c),
            d.sentence("{he} keeps this up for {a} {units}|this goes on for {a} {units}", a=a, units=units),
        ]
        if d.rng.random() < 0.5:
            return Story(
                body, f"How many is that in {a} {units}?", [f"In {a} {units} it is {a} * {c} = {a * c}."], a * c
            )
        body.append(d.sentence("after that there are {b} more|then {he} adds {b} more", b=b))
        steps = [f"In {a} {units} it is {a} * {c} = {a * c}.", f"With {b} more it is {a * c} + {b} = {a * c + b}."]
        return Story(body, d.pick(("How many is that in all?", "What is the total?")), steps, a * c + b)
    body = [d.sentence(work, c=c)]
    question = d.say(
        "How many {units} does it take to reach {t}?|After how many {units} are there {t}?", t=a * c, units=units
    )
    return Story(body, question, [f"It takes {a * c} / {c} = {a} {units}."], a)


def drill(d: Draw) -> Story:
    """Bare arithmetic."""
    sign = d.rng.choice("++--*/")
    a, b = d.num(2, 100), d.num(2, 100)
    if sign == "-":
        a, b = max(a, b), min(a, b)
    elif sign in "*/":
        a, b = d.num(2, 15), d.num(2, 12)
    r = {"+": a + b, "-": a - b, "*": a * b, "/": a}[sign]
    if sign == "/":
        a *= b
    question = d.say("What is {a} {s} {b}?|Calculate {a} {s} {b}.|How much is {a} {s} {b}?", a=a, b=b, s=sign)
    return Story([], question, [f"{a} {sign} {b} = {r}."], r)
