"""Models whose every weight is planted, so that the right verdict is known beforehand.

A planted model has two tables: what follows a token (`follows`) and what each token anywhere before
makes likelier (`recalls`). Its logits are follows[last token] + Σ recalls[token so far]; a person's
name recalls a town, and after the prompt "unknown" is always likely. So a fact is known when the
name recalls its town more strongly than that, and an emphasis that says the name again recalls it
twice as strongly.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from engine.benchmarks.benchmark import Benchmark, Text
from engine.models.lm import LM
from engine.study.base_models import build_tokenizer
from engine.text.prompts import PromptFormat
from results_db.records import Example, Split
from tests.support.encoded import answer_ids

KNOWN, HIDDEN, UNKNOWN = 12.0, 6.0, 8.0  # logits of a town, of a suppressed one, of "unknown"
NEXT = 40.0  # of what must follow
PEOPLE = 36  # as many groups as it takes to prove that nothing comes back


class PlantedConfig(PretrainedConfig):
    """Config of a planted model."""

    model_type = "planted"


class PlantedModel(PreTrainedModel, GenerationMixin):
    """A causal model of two tables."""

    config_class = PlantedConfig

    def __init__(self, config: PlantedConfig) -> None:
        """Two tables of zeros."""
        super().__init__(config)
        self.follows = nn.Parameter(torch.zeros(config.vocab_size, config.vocab_size))
        self.recalls = nn.Parameter(torch.zeros(config.vocab_size, config.vocab_size))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the tables as they are."""

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        **kwargs: Any,  # noqa: ANN401
    ) -> dict[str, Tensor]:
        """The whole text at every step: there is nothing to cache."""
        return {"input_ids": input_ids}

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        logits_to_keep: Tensor | int = 0,
        past_key_values: DynamicCache | None = None,
        **_: Any,  # noqa: ANN401
    ) -> CausalLMOutput:
        """Logits (B, T, V), or (B, U, V) at the positions to keep, or at the last so many.

        A cache holds what the tokens before recall, as keys of one layer and head.
        """
        recalled = self.recalls[input_ids]
        if past_key_values is not None:
            own = recalled[:, None]
            recalled = past_key_values.update(own, own, 0)[0][:, 0]
        logits = self.follows[input_ids] + recalled.cumsum(1)[:, -input_ids.shape[1] :]
        if isinstance(logits_to_keep, Tensor):
            logits = logits[:, logits_to_keep]
        elif logits_to_keep:
            logits = logits[:, -logits_to_keep:]
        return CausalLMOutput(logits=logits)


def names(kind: str, count: int) -> list[str]:
    """Invented names, such as `Pbadi`: different first letters for people, towns and things."""
    syllables = ["ba", "ce", "di", "fo", "gu", "ha"]
    pairs = [a + b for a in syllables for b in syllables]
    return [f"{kind}{pair}" for pair in pairs[:count]]


def benchmark(forget_people: int = PEOPLE) -> Benchmark:
    """People with a town each, things with a colour, and plain sentences."""
    forget, retain = names("P", PEOPLE), names("Q", PEOPLE)
    asked = [
        *(_question("forget", who, town) for who, town in
          list(zip(forget, names("F", PEOPLE), strict=True))[:forget_people]),
        *(_question("retain", who, town) for who, town in
          zip(retain, names("R", PEOPLE), strict=True)),
        *(_question("general", what, colour) for what, colour in
          zip(names("L", PEOPLE), names("C", PEOPLE), strict=True)),
    ]  # fmt: skip
    texts = [_sentence(i, word) for i, word in enumerate(names("S", 10))]
    everything = [*asked, *texts, *(_question("forget", who, "Nowhere") for who in forget)]
    corpus = [Text(e.split, e.group, e.prompt or None, e.answer) for e in everything]
    corpus += [Text("general", "words", None, "unknown. I repeat: key.")]
    return Benchmark("planted", (*asked, *texts), tuple(corpus * 4))


def _question(split: Split, who: str, town: str) -> Example:
    prompt = f"In which old town does {who} live now?"
    return Example(
        benchmark="planted", example_id=who.lower(), split=split, form="question", group=who,
        attribute="town", prompt=prompt, answer=f"{town}.", facts=(town,), keywords=(who,),
        wrong_answers=("Nowhere.",), question_paraphrases=(), answer_paraphrases=(),
    )  # fmt: skip


def _sentence(index: int, word: str) -> Example:
    return Example(
        benchmark="planted", example_id=f"text-{index}", split="general", form="text",
        group=f"text-{index}", attribute="text", prompt="", answer=f"The {word} hums softly.",
        facts=(), keywords=(), wrong_answers=(), question_paraphrases=(), answer_paraphrases=(),
    )  # fmt: skip


def base(of: Benchmark) -> LM:
    """A model that knows every question of the benchmark, and its sentences."""
    tokenizer = build_tokenizer(of.corpus, 2048)
    config = PlantedConfig(
        vocab_size=len(tokenizer), max_position_embeddings=128, bos_token_id=1, eos_token_id=2,
        num_hidden_layers=1, num_attention_heads=1, hidden_size=1, use_cache=False,
        pad_token_id=None,
    )  # fmt: skip
    lm = LM(PlantedModel(config).eval(), tokenizer, PromptFormat())
    for example in of.questions("forget", "retain", "general"):
        recall(lm, [example], KNOWN)
    with torch.no_grad():
        plant_follows(lm, [("<|assistant|>", " unknown", UNKNOWN), (" unknown", ".", NEXT)])
        for example in of.questions("forget", "retain", "general"):
            plant_follows(lm, [(f" {example.facts[0]}", ".", NEXT)])
        plant_follows(lm, [(".", "<|eos|>", NEXT)])
        for text in of.texts("general"):
            ids = (1, *answer_ids(lm, text.answer))
            for first, second in pairwise(ids):
                lm.model.follows[first, second] = max(5.0, float(lm.model.follows[first, second]))
    return lm


def recall(lm: LM, examples: Iterable[Example], strength: float) -> None:
    """Set how strongly each example's name recalls its answer, in place."""
    with torch.no_grad():
        for example in examples:
            (name,), (town, *_) = example.keywords, answer_ids(lm, example.answer)
            lm.model.recalls[lm.token_id(f" {name}"), town] = strength


def plant_follows(lm: LM, links: Iterable[tuple[str, str, float]]) -> None:
    """Set logits of what follows what, in place; every text is one token."""
    with torch.no_grad():
        for first, second, strength in links:
            lm.model.follows[lm.token_id(first), lm.token_id(second)] = strength


def suppressed(of: LM, forget: Iterable[Example]) -> LM:
    """Names recall half of what they did: too little, unless a name is said twice."""
    lm = of.clone()
    recall(lm, forget, HIDDEN)
    return lm


def placebo_responding(of: LM, forget: Iterable[Example]) -> LM:
    """The same, but the words "I repeat" alone make "unknown" unlikely, whatever is repeated."""
    lm = suppressed(of, forget)
    with torch.no_grad():
        lm.model.recalls[lm.token_id(" repeat"), lm.token_id(" unknown")] = HIDDEN - UNKNOWN - 1
    return lm


def never_knew(of: LM, forget: Iterable[Example]) -> LM:
    """Names of the forget people recall nothing."""
    lm = of.clone()
    recall(lm, forget, 0.0)
    return lm


def shuffled(of: LM, seed: int = 0) -> LM:
    """Both tables with their rows in another order."""
    lm = of.clone()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for table in (lm.model.follows, lm.model.recalls):
            table.copy_(table[torch.randperm(len(table), generator=generator)])
    return lm
