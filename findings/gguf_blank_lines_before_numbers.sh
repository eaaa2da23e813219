#!/usr/bin/env bash
# Guess:   transformers and llama.cpp read one GGUF file to the same token ids: the file names its
#          splitting rule (tokenizer.ggml.pre = "smollm").
# Instead: transformers does not know that name and takes GPT-2's rule without a word. White space before
#          a digit is cut otherwise, so every numbered list with blank lines has other ids.
# Versions: transformers 5.23.0, xllamacpp 2026.10.11549 (llama.cpp), SmolLM2-135M-Instruct.
# Matters: the model audited in transformers is not prompted as the one that people run: a list of
#          questions and its deletions (leave-one-out) are other sequences, at other positions.
source "$(dirname "$0")/setup.sh"
packages transformers==5.23.0 torch==2.13.0 gguf==0.19.0 xllamacpp==2026.10.11549
smollm2
run <<'PY'
import json
import os
import urllib.request

import xllamacpp
from gguf import GGUFReader
from transformers import AutoTokenizer

path = os.path.join(os.environ["MODEL"], os.environ["GGUF"])
field = GGUFReader(path).fields["tokenizer.ggml.pre"]
print("tokenizer.ggml.pre:", field.contents())
tokenizer = AutoTokenizer.from_pretrained(os.environ["MODEL"], gguf_file=os.environ["GGUF"])
settings = xllamacpp.CommonParams()
settings.model.path, settings.n_ctx, settings.warmup = path, 256, False
server = xllamacpp.Server(settings)


def llama_cpp(text: str) -> list[int]:
    body = json.dumps({"content": text}).encode()
    request = urllib.request.Request(server.listening_address + "/tokenize", body)
    request.add_header("Content-Type", "application/json")
    return json.load(urllib.request.urlopen(request))["tokens"]


LIST = "Answer briefly.\n\n1. Who wrote Emma?\n\n2. Who wrote Dracula?\n\n"
TEXTS = ("In 1932, 4 of 10 rows.", LIST, "Total:  12", "Question 7:\n\nWho wrote Emma?")
same = {}
for text in TEXTS:
    theirs, here = llama_cpp(text), tokenizer(text).input_ids
    same[text] = theirs == here
    print(f"{text!r}: llama.cpp {len(theirs)} tokens, transformers {len(here)}; same {same[text]}")
    if not same[text]:
        print("  llama.cpp   ", tokenizer.convert_ids_to_tokens(theirs))
        print("  transformers", tokenizer.convert_ids_to_tokens(here))
del server
assert [same[text] for text in TEXTS] == [True, False, False, True], "changed"
PY
