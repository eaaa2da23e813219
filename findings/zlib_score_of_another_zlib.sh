#!/usr/bin/env bash
# Guess:   the zlib score of membership inference (loss over the bytes of the compressed text) has a fixed
#          denominator: zlib at its default level gives a text the same length everywhere.
# Instead: zlib-ng, which several systems put in the place of zlib, gives three short texts in five another
#          length, up to 4 % away (isal: 7 %), shorter and longer, so that texts change places.
# Versions: Python's zlib 1.2.13 beside zlib-ng 1.1.0 and isal 1.9.1 (packages with the same functions).
# Matters: a zlib score, its AUC and what is derived from them are comparable between machines only where
#          Python was built on the same zlib; `zlib.ZLIB_RUNTIME_VERSION` belongs to such a figure.
source "$(dirname "$0")/setup.sh"
packages zlib-ng==1.1.0 isal==1.9.1
run <<'PY'
import zlib

from isal import isal_zlib
from zlib_ng import zlib_ng

PLACES = "Norway Peru Kenya Nepal Cuba Ghana Chile Oman Malta Japan Spain Qatar".split()
SHAPES = (
    "What is the capital of {0}? The capital of {0} is known to all who live in {1}.",
    "Who crossed from {0} to {1} on foot, and what was written of it in {0} at that time?",
    "The rivers of {0} are longer than those of {1}, and the rivers of {1} are deeper than any in {0}.",
)
TEXTS = [
    shape.format(one, other).encode() for shape in SHAPES for one in PLACES for other in PLACES
]
print("zlib of this Python:", zlib.ZLIB_RUNTIME_VERSION)
own = [len(zlib.compress(text)) for text in TEXTS]
for name, module in (("zlib-ng", zlib_ng), ("isal", isal_zlib)):
    other = [len(module.compress(text)) for text in TEXTS]
    ratios = [b / a for a, b in zip(own, other, strict=True)]
    differ = sum(ratio != 1 for ratio in ratios) / len(ratios)
    swapped = sum(
        (own[i] - own[j]) * (other[i] - other[j]) < 0
        for i in range(len(TEXTS)) for j in range(i)
    )  # fmt: skip
    print(
        f"{name}: {differ:.0%} of {len(TEXTS)} texts have another length, "
        f"{min(ratios):.3f} to {max(ratios):.3f} of it; {swapped} pairs change places"
    )
    assert all(zlib.decompress(module.compress(text)) == text for text in TEXTS)
    assert differ > 0.2, f"changed: {name} compresses as zlib does"
    assert swapped > 0, f"changed: {name} keeps the order"
PY
