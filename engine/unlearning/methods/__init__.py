"""Unlearning methods: each module has a frozen dataclass `Method` whose fields are its settings.

`Method.length()` is the number of steps; `Method.steps(policy, context)` changes the policy in
place and yields an Outcome after each; `Method.start` says which weights it begins with.
"""
