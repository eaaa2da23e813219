"""Attribution methods: each module has a frozen dataclass `Method` whose fields are its settings.

`Method.attribute(lm, prompts, answers, tokens_per_batch)` scores every prompt token for every
answer, as `attribute.AttributionMethod` says. Scores go by position, never by a token's text.
"""
