"""Names and nouns of generated word problems."""

# ruff: noqa: SIM905 - split strings keep the word lists short
from __future__ import annotations

# Name and whether the pronoun is "she".
PEOPLE = [(name, True) for name in (
    "Ada Alma Amara Anna Bea Carla Chloe Clara Daisy Dina Elena Ella Emma Eva Fatima Fiona Gina Grace Hana Holly Ines "
    "Iris Jade Jana Julia Kate Keiko Laila Lena Lily Lucy Maria Maya Mei Mina Nadia Nina Nora Olga Paula Priya Rita "
    "Rosa Ruth Sara Sofia Tara Tina Uma Vera Wendy Yara Zoe"
).split()] + [(name, False) for name in (
    "Abdul Adam Alan Andre Ben Bilal Boris Carlos Chen Dan Dev Diego Eli Emil Erik Felix Finn George Hassan Henry Hugo "
    "Ian Igor Ivan Jack James Jonas Kai Karim Kofi Lars Leo Liam Luis Marco Mark Max Milo Nate Noah Omar Oscar Otto "
    "Paul Pedro Raj Rico Sam Simon Theo Tom Victor Walter Yusuf Zane"
).split()]  # fmt: skip

_IRREGULAR = {"box": "boxes", "shelf": "shelves", "peach": "peaches", "strawberry": "strawberries",
              "cherry": "cherries", "bus": "buses", "sandwich": "sandwiches", "leaf": "leaves", "candy": "candies",
              "potato": "potatoes", "tomato": "tomatoes", "child": "children", "scarf": "scarves"}  # fmt: skip

THINGS = (
    "apple|orange|pear|peach|plum|lemon|banana|cherry|strawberry|egg|muffin|cookie|cupcake|sandwich|marble|sticker|stamp|"
    "coin|card|book|comic|magazine|pencil|pen|crayon|marker|notebook|eraser|ruler|button|bead|ribbon|shell|pebble|rock|"
    "leaf|flower|rose|tulip|candle|balloon|toy car|puzzle|doll|block|ball|kite|badge|photo|poster|postcard|letter|key|"
    "bottle|cup|plate|spoon|towel|sock|hat|scarf|shirt|nail|screw|brick|tile|ticket|candy|chocolate|cracker|potato|"
    "carrot|onion|tomato|pumpkin|melon|walnut|acorn|seed"
).split("|")  # fmt: skip
FOOD = "apple|orange|pear|peach|plum|banana|cherry|muffin|cookie|cupcake|cracker|candy|grape|walnut".split("|")
CONTAINERS = "box|bag|basket|jar|crate|packet|tray|shelf|drawer|bucket|carton|sack|pouch|chest|case".split("|")
GROUPS = "friend|child|cousin|student|neighbor|classmate|teammate|guest|player|helper".split("|")
PLACES = "shop|library|farm|school|museum|bakery|market|garage|hotel|garden club|kitchen|post office".split("|")
VEHICLES = "car|bus|train|truck|van|ferry|tram|motorbike".split("|")


def plural(noun: str) -> str:
    """``boxes`` for ``box``."""
    return _IRREGULAR.get(noun, noun + "s")
