#!/usr/bin/env bash
# Guess:   NPO lowers the log-probability of the answers to be forgotten.
# Instead: with labels for each token, erasus' "npo" averages the log-probabilities of the whole
#          vocabulary: labels are never read. Forgetting one answer and forgetting any other leaves the
#          same weights, and the answer's own log-probability rises.
# Versions: erasus 0.2.0, torch 2.13.0.
# Matters: a run named NPO in a table of methods may be none. Whether the answer became less likely has
#          to be measured before anything is said about how well it was forgotten.
source "$(dirname "$0")/setup.sh"
packages erasus==0.2.0 torch==2.13.0
run <<'PY'
import torch
from erasus.strategies.llm_specific.npo import NPOStrategy
from torch.utils.data import DataLoader, TensorDataset


class Bigram(torch.nn.Module):
    """Logits of the next token from the present one, trained below until it knows its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(20, 20)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids)


inputs = torch.arange(20).repeat(4).reshape(8, 10)
known, other = (inputs + 1) % 20, (inputs + 7) % 20
loss_of = lambda model, t: torch.nn.functional.cross_entropy(model(inputs).flatten(0, 1), t.flatten())


def trained() -> Bigram:
    torch.manual_seed(0)
    model = Bigram()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        loss_of(model, known).backward()
        optimizer.step()
    return model


before = -loss_of(trained(), known).item()
ends = []
for labels in (known, other):
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=8)
    model = NPOStrategy(lr=0.05).unlearn(trained(), loader, epochs=20)[0]
    ends.append(model.table.weight.detach())
    after = -loss_of(model, known).item()
    what = "the known answers" if labels is known else "other answers"
    print(f"asked to forget {what}: log-probability of the known ones {before:.3f} -> {after:.3f}")
print("same weights whichever was to be forgotten:", torch.equal(*ends))
assert torch.equal(*ends), "changed: the labels matter"
assert after > before
PY
