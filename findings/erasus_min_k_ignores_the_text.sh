#!/usr/bin/env bash
# Guess:   Min-K% and Min-K%++ score the log-probabilities of the text's own tokens, the lowest k percent.
# Instead: erasus takes the most probable token of each position, whatever the text says. Other targets,
#          the same score; its loss attack beside it does move.
# Versions: erasus 0.2.0, torch 2.13.0.
# Matters: a membership attack that never looks at the text cannot tell a memorized one from another. Its
#          AUC near 0.5 is then read as "no trace left", on any model.
source "$(dirname "$0")/setup.sh"
packages erasus==0.2.0 torch==2.13.0
run <<'PY'
import torch
from erasus.metrics.forgetting.mia_suite import MIASuite
from torch.utils.data import DataLoader, TensorDataset


class Bigram(torch.nn.Module):
    """Logits of the next token from the present one: sharp, so that it knows some texts by heart."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(20, 20)
        torch.nn.init.eye_(self.table.weight)
        with torch.no_grad():
            self.table.weight.copy_(8 * self.table.weight.roll(1, 1))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids)


model = Bigram()
random = torch.Generator().manual_seed(0)
inputs = torch.randint(0, 20, (40, 12), generator=random)
memorized, unseen = (inputs + 1) % 20, torch.randint(0, 20, (40, 12), generator=random)
chance = {}
for name in ("mink", "mink_pp"):
    attack = MIASuite(attacks=[name])._attacks[name]
    one, two = (
        attack.score(model, DataLoader(TensorDataset(inputs, t), 8), torch.device("cpu"))
        for t in (memorized, unseen)
    )
    chance[name] = (one == two).all()
    print(f"{name}: mean score of memorized texts {one.mean():.4f}, of random ones {two.mean():.4f}")
logs = torch.log_softmax(model(inputs), -1)
lowest = lambda t: logs.gather(2, t[..., None])[..., 0].sort(1).values[:, :2].mean().item()
print(f"by the texts' own tokens, lowest 20 %: {lowest(memorized):.4f} and {lowest(unseen):.4f}")
assert all(chance.values()), "changed: the score depends on the text"
assert lowest(memorized) - lowest(unseen) > 5
PY
