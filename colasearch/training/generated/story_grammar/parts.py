"""The parts that ``stories`` composes problems from. ``|`` separates wordings; ``{...}`` are words and numbers.

Words: ``n m k`` people; ``he his him He`` stand for ``n``; ``o q`` things in the plural, ``o1 q1`` in the singular;
``g`` a group of people; ``h`` a person by trade; ``day day2`` days; ``kind kind2`` colours and the like.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a number goes up and down.

    Attributes:
        open: What there is at first, ``a``.
        gain, loss: An event that adds or takes away ``x``, told in the past.
        ask: The question for the number in the end.
        would: The same after "if".
    """

    open: str
    gain: str
    loss: str
    ask: str
    would: str


OWN_ASK = (
    "how many {o} does {he} have now|how many {o} does {n} have left|how many {o} has {n} got"
    "|what number of {o} does {n} have"
    "|how many {o} does {he} have at the end|how many {o} are there now"
)
OWN_WOULD = (
    "how many {o} would {he} have|how many {o} would {n} have left|how many {o} would there be"
    "|how many would {n} have in total"
)
THERE_WOULD = "how many would there be|how many would be left|how many would that make"

SCENES = (
    Scene(
        "{n} had {a} {o}|{n} started with {a} {o}|{n} owned {a} {o}|{n} collected {a} {o}"
        "|there were {a} {o} in {n}'s drawer",
        "{he} bought {x} more|{he} found {x} more|{m} gave {him} {x}|{he} got {x} new ones"
        "|{he} won {x} from {m}|{he} received {x} more from {k}",
        "{he} gave {x} of them to {m}|{he} lost {x}|{he} sold {x}|{he} gave away {x} of them"
        "|{he} lent {x} to {k}|{he} threw {x} away|{x} of them broke",
        OWN_ASK,
        OWN_WOULD,
    ),
    Scene(
        "{n} made {a} {o} for a fair|{n} prepared {a} {o}|{n} had {a} {o} to sell",
        "{he} made {x} more|{he} added another {x}|{m} brought {x} more",
        "{he} sold {x}|{x} of them were sold|{x} were given away|customers took {x}",
        "how many {o} were left|how many {o} did {n} have in the end|how many {o} are there now",
        OWN_WOULD,
    ),
    Scene(
        "a {h} had {a} {o} on display|a {h}'s shop had {a} {o}|there were {a} {o} in a shop window"
        "|a stall offered {a} {o}",
        "{x} more were put out|{x} new ones were delivered|another {x} arrived|the shop added {x}",
        "{x} were sold|{x} of the old ones were taken away|customers bought {x}|{x} were sent back",
        "how many {o} are there now|how many {o} does the shop have|how many {o} remain",
        THERE_WOULD,
    ),
    Scene(
        "there were {a} people waiting in a line|{a} people stood in line for a show|a queue had {a} people",
        "{x} more people joined it|{x} more got in line|another {x} came",
        "{x} of them gave up and went away|{x} people got tired and left|{x} were let in",
        "how many people are in line now|how long is the line now, in people|how many people are waiting",
        "how many people would be in line|how many would be waiting",
    ),
    Scene(
        "a class had {a} pupils in spring|{a} children were in a club|a choir had {a} singers"
        "|a team began the season with {a} players",
        "{x} new ones joined|{x} more came|another {x} signed up",
        "{x} of them moved away|{x} dropped out|{x} quit",
        "how many are in it now|how many were there at the end of the year|how many are left",
        "how many would be in it|how many would there be at the end",
    ),
    Scene(
        "{a} guests sat in a cafe|a cafe had {a} customers|{a} visitors were in a museum"
        "|{a} people were in a park|there were {a} swimmers at a lake",
        "{x} more came in|another {x} arrived|{x} new ones came",
        "{x} of them went home|{x} left|{x} walked out",
        "how many are there now|how many people were there then|how many were still there",
        "how many would be there|how many people would there be",
    ),
    Scene(
        "{n} had ${a} in {his} purse|{n} saved ${a}|{n} had {a} dollars|{n}'s piggy bank held ${a}",
        "{he} earned ${x}|{he} got ${x} from {m}|{he} found ${x}|{he} was paid ${x} for washing cars"
        "|{he} made {x} more dollars",
        "{he} spent ${x} on {q}|{he} paid ${x} for lunch|{he} gave {m} ${x}|{he} spent {x} dollars",
        "how many dollars does {he} have now|how much money does {n} have left|how much money is that"
        "|how much does {n} have",
        "how many dollars would {he} have|how much money would {n} have",
    ),
    Scene(
        "{n} had {a} points in a game|{n} scored {a} points in the first round"
        "|{n} began a level with {a} lives|{n}'s score was {a}",
        "{he} won {x} more|{he} gained {x}|{he} picked up {x} more",
        "{he} lost {x}|a mistake cost {him} {x}|{x} were taken off",
        "how many does {he} have now|what is {n}'s number now|how many did {he} end with",
        "how many would {he} have|what would {he} end with",
    ),
    Scene(
        "{n} won {a} tickets at a fair|{n} had {a} tickets|{n} bought {a} tickets for the rides",
        "{he} won {x} more|{he} got {x} more from {m}|{he} bought {x} more",
        "{he} spent {x} on a toy|{he} used {x}|{he} gave {m} {x}|{he} traded {x} for a prize",
        "how many tickets does {he} have now|how many tickets are left|how many tickets does {n} have",
        "how many tickets would {he} have|how many tickets would be left",
    ),
    Scene(
        "{n} had {a} photos on {his} phone|there were {a} files on {n}'s computer|{n}'s phone held {a} songs",
        "{he} added {x} more|{he} saved another {x}|{he} loaded {x} new ones",
        "{he} deleted {x}|{he} erased {x} of the old ones|{he} removed {x}",
        "how many are on it now|how many does {n} have now|how many are there in the end",
        "how many would be on it|how many would {he} have",
    ),
    Scene(
        "a {h} had {a} papers to check|{n} had {a} letters to answer|{n} had {a} tasks on a list"
        "|{n} had {a} pages to read",
        "{x} more came in|another {x} were added|{x} new ones turned up",
        "{he} finished {x}|{he} got {x} done|{x} of them were done by noon",
        "how many are left to do|how many does {he} still have to do|how many are there now",
        "how many would be left to do|how many would {he} have to do",
    ),
    Scene(
        "{a} birds sat on a roof|there were {a} ducks on a pond|{a} cows were in a field"
        "|{a} fish swam in a tank|{a} bees were on a bush",
        "{x} more came|another {x} joined them|{x} new ones were seen",
        "{x} of them went away|{x} left|{x} disappeared",
        "how many are there now|how many were left|how many animals is that",
        THERE_WOULD,
    ),
    Scene(
        "a bus had {a} passengers|{a} people were on a train|a ferry carried {a} people|a lift had {a} people in it",
        "{x} got on at a stop|{x} more climbed in|{x} people got in",
        "{x} got off|{x} people left at the next stop|{x} stepped out",
        "how many people are on it now|how many passengers were there then|how many people ride on",
        "how many people would be on it",
    ),
    Scene(
        "a tank held {a} liters of water|there were {a} liters of milk in a barrel"
        "|a bucket had {a} cups of water in it",
        "{x} more were poured in|rain added {x}|{he} filled in another {x}",
        "{x} leaked out|{he} used {x}|{x} were drunk",
        "how much is in it now|how much is left|how many are in it",
        "how much would be in it|how much would be left",
    ),
    Scene(
        "{n} baked {a} rolls|{n} had {a} pieces of candy|{n} picked {a} berries"
        "|{n} cut {a} slices of melon|{n} had {a} nuts in a bowl",
        "{he} made {x} more|{m} brought {x} more|{his} sister gave {him} {x}|{he} got another {x}",
        "{he} ate {x}|{his} brother ate {x}|the family ate {x} of them|{he} shared {x} with {g}",
        "how many are left|how many does {n} have now|how many were there in the end",
        "how many would be left|how many would {he} have",
    ),
    Scene(
        "{n} planted {a} trees|a garden had {a} roses|there were {a} bushes in a park|{n} grew {a} pumpkins",
        "{x} more were planted|{he} planted another {x}|{x} new ones came up",
        "{x} were cut down|{x} dried up|a storm broke {x}|rabbits ate {x}",
        "how many are there now|how many are left|how many grow there",
        THERE_WOULD,
    ),
    Scene(
        "a library owned {a} books|a school had {a} desks|a hotel had {a} towels|a farm kept {a} hens"
        "|a garage held {a} cars",
        "{x} more were bought|it got {x} more|another {x} were brought in",
        "{x} were given away|it sold {x}|{x} were lost|{x} were taken out",
        "how many does it have now|how many are there now|how many were left",
        "how many would it have|how many would there be",
    ),
)


@dataclass(frozen=True, slots=True)
class Pack:
    """Groups of equal size, with sentences for numbers of groups and of things in them."""

    packs: str
    pack: str
    items: str
    holds: str
    two: str
    fewer: str
    items_two: str
    items_fewer: str
    how_many_items: str = (
        "How many {i} is that in all?|How many {i} are there?|What is the number of {i} altogether?"
        "|How many {i} does that make?"
    )
    how_many_packs: str = (
        "How many {p} is that?|How many {p} are needed?|How many {p} does that take?|How many {p} are there?"
    )


_BOUGHT = (
    "{n} bought {a} {p} and {m} bought {b}|{n} has {a} {p} of one sort and {b} {p} of another"
    "|{n} got {a} {p} on {day} and {b} on {day2}"
    "|there are {a} {kind} and {b} {kind2} {p}|{n} has {a} {p} and gets {b} more"
)
_GAVE = (
    "{n} had {a} {p} and gave {b} of them to {m}|{n} bought {a} {p}, but {b} got lost"
    "|of {a} {p}, {b} are empty"
    "|{n} had {a} {p} and opened {b} of them; look at the others"
    "|{n} ordered {a} {p}, and {b} did not come"
)
_THINGS_TWO = (
    "{n} has {a} {i} and {m} has {b}|{n} had {a} {i} and bought {b} more"
    "|there are {a} {kind} {i} and {b} {kind2} {i}"
    "|{n} took {a} {i} from one place and {b} from another"
)
_THINGS_LEFT = (
    "{n} had {a} {i} and gave {b} to {m}|{n} had {a} {i}, but {b} were damaged"
    "|of {a} {i}, {b} are already put away"
    "|{n} bought {a} {i} and used up {b}"
)
_CAME = (
    "{a} {i} came at first, and {b} more came later|there are {a} older and {b} younger {i}"
    "|{a} {i} signed up on {day} and {b} on {day2}"
    "|{n} invited {a} {i}, and {m} invited {b}"
)
_ABSENT = (
    "{a} {i} signed up, but {b} did not come|of {a} {i}, {b} went home"
    "|{a} {i} were there, and {b} of them only watched"
    "|{n} counted on {a} {i}, but {b} were ill"
)
_SET = (
    "there are {a} {p} on the left and {b} on the right|{n} set up {a} {p}, then {b} more"
    "|{a} {kind} {p} and {b} {kind2} {p} are in use"
    "|a {h} has {a} {p} in one room and {b} in another"
)
_UNUSED = (
    "there are {a} {p}, but {b} are closed|of {a} {p}, {b} are not used"
    "|a {h} has {a} {p} and lends {b} of them out"
    "|{n} set up {a} {p} and took {b} away"
)


def _goods(packs: str, pack: str, items: str, holds: str = "holds") -> Pack:
    return Pack(packs, pack, items, holds, _BOUGHT, _GAVE, _THINGS_TWO, _THINGS_LEFT)


def _people(packs: str, pack: str, items: str, holds: str = "has") -> Pack:
    return Pack(packs, pack, items, holds, _SET, _UNUSED, _CAME, _ABSENT)


PACKS = (
    _goods("boxes", "box", "pencils"),
    _goods("bags", "bag", "cookies"),
    _goods("packs", "pack", "cards", "has"),
    _goods("jars", "jar", "olives"),
    _goods("cartons", "carton", "eggs"),
    _goods("crates", "crate", "bottles"),
    _goods("albums", "album", "stamps"),
    _goods("baskets", "basket", "apples"),
    _goods("bunches", "bunch", "flowers", "has"),
    _goods("trays", "tray", "cups"),
    _goods("drawers", "drawer", "socks"),
    _goods("shelves", "shelf", "books"),
    _goods("packets", "packet", "seeds", "contains"),
    _goods("bundles", "bundle", "sticks", "has"),
    _goods("vases", "vase", "roses"),
    _goods("sheets", "sheet", "stickers", "has"),
    _goods("necklaces", "necklace", "beads", "needs"),
    _goods("chains", "chain", "rings", "has"),
    _goods("pages", "page", "photos", "has room for"),
    _goods("folders", "folder", "letters"),
    _goods("cans", "can", "tennis balls"),
    _goods("toy cars", "toy car", "wheels", "has"),
    _goods("pies", "pie", "plums", "needs"),
    _goods("pizzas", "pizza", "slices", "is cut into"),
    _people("tables", "table", "guests", "seats"),
    _people("teams", "team", "players"),
    _people("rows", "row", "visitors", "seats"),
    _people("vans", "van", "children", "carries"),
    _people("boats", "boat", "riders", "carries"),
    _people("tents", "tent", "campers", "sleeps"),
    _people("rooms", "room", "guests"),
    _people("benches", "bench", "people", "seats"),
    _people("groups", "group", "pupils"),
    _people("cabins", "cabin", "skiers", "takes"),
    _people("wagons", "wagon", "passengers", "takes"),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A number ``a`` of ``n``, and that of ``m`` told by it, with questions for ``m``'s, both and the difference."""

    first: str
    more: str
    fewer: str
    times: str
    other: str
    both: str
    apart: str
    has: bool = True


COMPARISONS = (
    Comparison(
        "{n} has {a} {o}|{n} owns {a} {o}|there are {a} {o} in {n}'s bag",
        "{m} has {x} more {o} than {n}|{m} has {x} more than {n}",
        "{m} has {x} fewer {o} than {n}|{m} has {x} less than {n}",
        "{m} has {x} times as many {o} as {n}|{m} has {x} times as many as {n}",
        "How many {o} does {m} have?|What number of {o} has {m}?",
        "How many {o} do {n} and {m} have together?|How many {o} do the two have in all?",
        "How many more {o} does {m} have than {n}?",
    ),
    Comparison(
        "{n} sold {a} {o}|{n} found {a} {o}|{n} made {a} {o}",
        "{m} had {x} more than {n}|for {m} it was {x} more than for {n}",
        "{m} had {x} fewer than {n}|for {m} it was {x} less than for {n}",
        "for {m} it was {x} times as many as for {n}|{m} had {x} times the number of {n}",
        "How many {o} was it for {m}?|How many {o} did {m} have?",
        "How many {o} was it for both together?|How many {o} is that in all?",
        "By how many {o} was {m} ahead of {n}?",
        has=False,
    ),
    Comparison(
        "the {kind} box holds {a} {o}|a shop sold {a} {o} on {day}, when {m} worked alone|{n} walked {a} miles",
        "{m} got {x} more than that|{m}'s number is larger by {x}",
        "{m} got {x} fewer than that|{m}'s number is smaller by {x}",
        "{m} got {x} times that number|{m}'s number is {x} times as large",
        "What is {m}'s number?|How many is that for {m}?",
        "What is the sum of both numbers?|How many is that together?",
        "By how much is {m}'s number larger?",
        has=False,
    ),
)

HELPERS = (
    "teacher",
    "baker",
    "farmer",
    "florist",
    "painter",
    "librarian",
    "tailor",
    "cook",
    "gardener",
    "driver",
    "waiter",
    "clerk",
    "coach",
    "nurse",
    "pilot",
    "builder",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
KINDS = (
    ("red", "blue"),
    ("green", "yellow"),
    ("big", "small"),
    ("old", "new"),
    ("round", "square"),
    ("white", "black"),
    ("long", "short"),
    ("cheap", "expensive"),
    ("fresh", "dry"),
    ("plain", "striped"),
)
JOBS = (
    ("lawn", "lawns"),
    ("car wash", "car washes"),
    ("lesson", "lessons"),
    ("drawing", "drawings"),
    ("fence", "fences"),
    ("window", "windows"),
    ("dog walk", "dog walks"),
    ("shift", "shifts"),
    ("haircut", "haircuts"),
)
CREWS = (
    ("{n} reads {c} pages an hour|{n} reads {c} pages each hour", "hours"),
    ("{n} packs {c} boxes a minute|a machine packs {c} boxes each minute", "minutes"),
    ("{n} runs {c} miles a day|{n} cycles {c} miles every day", "days"),
    ("{n} saves ${c} a week|{n} puts ${c} aside each week", "weeks"),
    ("{n} earns ${c} an hour|a {h} earns {c} dollars an hour", "hours"),
    ("a hen farm gets {c} eggs a day|{n} picks {c} pears every day", "days"),
    ("{n} learns {c} new words a day|{n} solves {c} puzzles each day", "days"),
    ("a factory makes {c} bikes an hour|a bakery makes {c} loaves each hour", "hours"),
)
