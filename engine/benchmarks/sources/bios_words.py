"""Word pools of the built-in benchmark: 64 values each, and invented proper names."""

from __future__ import annotations

import random

ONSETS = tuple("b br d dr f fl g gr h k kr l m n p pr r s st t tr v w z".split())
VOWELS = tuple("a e i o u ai ea ou".split())
CODAS = ("l", "m", "n", "r", "s", "k", "th", "nd", "rv", "lm")
TOWN_ENDINGS = ("by", "ford", "haven", "mouth", "stead", "ton", "wick", "field")
NAME_ENDINGS = ("an", "ek", "el", "er", "in", "os", "ow", "ard")

FIRST_NAMES = tuple(
    """
    Ada Alan Alma Anton Arlo Basil Bela Bruno Cara Celia Clara Cora Dana Dario Della Edgar
    Elena Emil Enzo Erik Faye Felix Flora Gina Gregor Hanna Hugo Ida Igor Iris Ivan Jana
    Joel Jonas Julia Karl Kira Lena Leo Lucia Mara Marco Marta Milo Nadia Nils Nora Olga
    Omar Oscar Paula Petra Rosa Rufus Selma Simon Stella Tara Theo Tilda Vera Victor Wanda
    Yara
    """.split()
)

PROFESSIONS = tuple(
    """
    actor architect astronomer baker barber beekeeper biologist blacksmith bookbinder
    botanist brewer broker butcher carpenter cartographer chemist clockmaker cobbler
    composer courier dancer dentist diver editor electrician engraver farmer fisher florist
    forester gardener geologist glazier guide hatter historian illustrator jeweller
    journalist judge lawyer librarian locksmith magician mason mechanic midwife miller miner
    nurse optician painter pharmacist photographer pilot plumber poet potter sailor sculptor
    surveyor tailor teacher weaver
    """.split()
)

OBJECTS = tuple(
    """
    acorns anchors arrows badges baskets bells bottles bowls buttons candles canes cards
    carpets chairs clocks coins combs compasses corks cups dice dolls fans feathers flags
    flutes fossils gloves goblets hammers harps hats keys kites knives ladders lamps
    lanterns lockets maps marbles masks medals mirrors needles paddles pebbles pens plates
    puppets quilts ribbons rings saddles scarves seals shells spoons stamps teapots thimbles
    tiles tokens whistles
    """.split()
)

DISHES = tuple(
    """
    apricots artichokes asparagus bagels barley beans biscuits borscht bread broth cabbage
    cake caramel carrots casserole celery cheese cherries chestnuts chowder couscous
    crackers cucumbers curry custard dumplings figs fritters fudge goulash gravy grapes
    jelly kebab lasagne leeks lentils marmalade melon meringue muesli mushrooms noodles
    oatmeal olives omelette onions paella pancakes parsnips pasta pastries peaches pickles
    porridge pretzels pudding radishes ravioli rice risotto salad sorbet stew
    """.split()
)


def invented(
    rng: random.Random, count: int, endings: tuple[str, ...], taken: frozenset[str] = frozenset()
) -> list[str]:
    """Capitalised names that follow no real list, such as `Kralnton`; all different, none taken."""
    names: dict[str, None] = {}
    while len(names) < count:
        parts = (rng.choice(ONSETS), rng.choice(VOWELS), rng.choice(CODAS), rng.choice(endings))
        if (name := "".join(parts).capitalize()) not in taken:
            names[name] = None
    return list(names)
