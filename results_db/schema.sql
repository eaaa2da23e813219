-- The tables of a results file, one for each record of records.py: same columns, same order.
-- Not measured is NULL, and `reason` says why. Fractions lie in [0, 1]; logarithms are natural.
-- There are no foreign keys: a run is added or replaced in one transaction; verify.py finds orphans.
-- No CHECK may call a function: DuckDB replays the log of a killed process before it has any.
-- What is computed from these tables, so that pages are quick, stands in summaries/.

CREATE TABLE meta (
    schema_version INTEGER NOT NULL,
    macros VARCHAR NOT NULL
);
COMMENT ON TABLE meta IS 'One row: what this file is.';
COMMENT ON COLUMN meta.schema_version IS 'Version of this schema; a program writes only the version it knows, and reads older ones to which upgrade/ has steps.';
COMMENT ON COLUMN meta.macros IS 'Hash of definitions/ and summaries/ as they are kept in this file.';

CREATE TABLE build (
    build_id VARCHAR PRIMARY KEY,
    python VARCHAR NOT NULL,
    platform VARCHAR NOT NULL,
    device VARCHAR NOT NULL,
    threads INTEGER NOT NULL CHECK (threads > 0),
    packages VARCHAR NOT NULL,
    "commit" VARCHAR
);
COMMENT ON TABLE build IS 'What runs were computed with; one row for each combination.';
COMMENT ON COLUMN build.build_id IS 'Hash of the other columns.';
COMMENT ON COLUMN build.python IS 'Version of Python.';
COMMENT ON COLUMN build.platform IS 'Operating system and machine.';
COMMENT ON COLUMN build.device IS 'Where the model ran: cpu, or the name of the accelerator.';
COMMENT ON COLUMN build.threads IS 'Threads that torch used, at least 1.';
COMMENT ON COLUMN build.packages IS 'JSON object: package name to version.';
COMMENT ON COLUMN build."commit" IS 'Commit of the source; NULL outside a git checkout.';

CREATE TABLE study (
    study VARCHAR PRIMARY KEY,
    plan VARCHAR NOT NULL,
    planned_at VARCHAR NOT NULL
);
COMMENT ON TABLE study IS 'A plan as it was run.';
COMMENT ON COLUMN study.study IS 'Name of the study.';
COMMENT ON COLUMN study.plan IS 'The resolved plan as text, TOML or JSON.';
COMMENT ON COLUMN study.planned_at IS 'When it was planned: UTC, ISO 8601.';

CREATE TABLE planned_run (
    study VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    benchmark VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    seed BIGINT NOT NULL,
    PRIMARY KEY (study, run_id)
);
COMMENT ON TABLE planned_run IS 'A run that a study asks for, finished or not.';
COMMENT ON COLUMN planned_run.study IS 'The study that asks for it.';
COMMENT ON COLUMN planned_run.run_id IS 'Key of the run, finished or not.';
COMMENT ON COLUMN planned_run.position IS 'Place in the order of the plan, from 0.';
COMMENT ON COLUMN planned_run.benchmark IS 'Name of the benchmark.';
COMMENT ON COLUMN planned_run.model IS 'Name of the model in the plan.';
COMMENT ON COLUMN planned_run.method IS 'Name of the unlearning method.';
COMMENT ON COLUMN planned_run.seed IS 'Seed of the run.';

CREATE TABLE example (
    benchmark VARCHAR NOT NULL,
    example_id VARCHAR NOT NULL,
    split VARCHAR NOT NULL CHECK (split IN ('forget', 'retain', 'holdout', 'general')),
    form VARCHAR NOT NULL CHECK (form IN ('question', 'text')),
    "group" VARCHAR NOT NULL,
    attribute VARCHAR NOT NULL,
    prompt VARCHAR NOT NULL,
    answer VARCHAR NOT NULL,
    facts VARCHAR[] NOT NULL,
    keywords VARCHAR[] NOT NULL,
    wrong_answers VARCHAR[] NOT NULL,
    question_paraphrases VARCHAR[] NOT NULL,
    answer_paraphrases VARCHAR[] NOT NULL,
    correct_rule VARCHAR NOT NULL
        CHECK (correct_rule IN ('contains_fact', 'fact_words', 'multiple_choice')),
    data_hash VARCHAR NOT NULL,
    PRIMARY KEY (benchmark, data_hash, example_id)
);
COMMENT ON TABLE example IS 'One question, or one plain text, of one version of the data of a benchmark, with what counts as its right answer.';
COMMENT ON COLUMN example.benchmark IS 'Name of the benchmark.';
COMMENT ON COLUMN example.example_id IS 'Key of the example within this version of the data.';
COMMENT ON COLUMN example.split IS 'forget, retain, holdout or general.';
COMMENT ON COLUMN example.form IS 'question (a prompt and its answer) or text (only the answer is scored).';
COMMENT ON COLUMN example."group" IS 'Person, author or kind of item: the unit of resampling; intervals are robust to it.';
COMMENT ON COLUMN example.attribute IS 'What is asked for; wrong values come from the same attribute.';
COMMENT ON COLUMN example.prompt IS 'The plain prompt; empty only for form text.';
COMMENT ON COLUMN example.answer IS 'The gold answer; never empty.';
COMMENT ON COLUMN example.facts IS 'What a correct answer contains.';
COMMENT ON COLUMN example.keywords IS 'Words of the prompt, planted or annotated (not attributed).';
COMMENT ON COLUMN example.wrong_answers IS 'Wrong answers of the same form.';
COMMENT ON COLUMN example.question_paraphrases IS 'Other wordings of the prompt.';
COMMENT ON COLUMN example.answer_paraphrases IS 'Other wordings of the gold answer.';
COMMENT ON COLUMN example.correct_rule IS 'When an answer counts as correct. contains_fact: every fact stands in it. fact_words: at least half of the facts, each a word, stand in it. multiple_choice: of the answer and the wrong answers, the model finds the answer likeliest, by mean log-probability per token.';
COMMENT ON COLUMN example.data_hash IS 'Version of the data that it is of, as run.data_hash says it.';

CREATE TABLE run (
    run_id VARCHAR PRIMARY KEY,
    benchmark VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    architecture VARCHAR NOT NULL,
    parameters BIGINT CHECK (parameters > 0),
    method VARCHAR NOT NULL,
    seed BIGINT NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('complete', 'failed')),
    spec VARCHAR NOT NULL,
    base_run_id VARCHAR NOT NULL,
    retain_run_id VARCHAR,
    sham_run_id VARCHAR,
    build_id VARCHAR NOT NULL,
    started_at VARCHAR NOT NULL,
    seconds DOUBLE NOT NULL CHECK (seconds >= 0),
    error VARCHAR,
    failed_step INTEGER,
    dtype VARCHAR,
    prompt_format VARCHAR,
    data_hash VARCHAR,
    measurement INTEGER NOT NULL CHECK (measurement > 0),
    CHECK ((status = 'failed') = (error IS NOT NULL))
);
COMMENT ON TABLE run IS 'One method applied to one model on one benchmark, finished or failed; a row here means its records are here too.';
COMMENT ON COLUMN run.run_id IS 'First 12 hex digits of the hash of the spec.';
COMMENT ON COLUMN run.benchmark IS 'Name of the benchmark.';
COMMENT ON COLUMN run.model IS 'Name of the model in the plan.';
COMMENT ON COLUMN run.architecture IS 'Architecture of the model, such as llama.';
COMMENT ON COLUMN run.parameters IS 'Number of weights of the model, a count.';
COMMENT ON COLUMN run.method IS 'Name of the unlearning method; none, retrain and sham are the references.';
COMMENT ON COLUMN run.seed IS 'Seed of the run.';
COMMENT ON COLUMN run.status IS 'complete or failed.';
COMMENT ON COLUMN run.spec IS 'JSON: everything needed to repeat the run.';
COMMENT ON COLUMN run.base_run_id IS 'The run of method none on the same model and benchmark: the model before unlearning.';
COMMENT ON COLUMN run.retain_run_id IS 'The run of method retrain, which never saw the forget split; NULL when there is none.';
COMMENT ON COLUMN run.sham_run_id IS 'The run of method sham: as many steps, on the retain loss only; NULL when there is none.';
COMMENT ON COLUMN run.build_id IS 'What it was computed with.';
COMMENT ON COLUMN run.started_at IS 'When it started: UTC, ISO 8601.';
COMMENT ON COLUMN run.seconds IS 'Wall time of the whole run, seconds.';
COMMENT ON COLUMN run.error IS 'Why a failed run failed; NULL for a complete one.';
COMMENT ON COLUMN run.failed_step IS 'The step at which it failed; NULL when it failed outside the steps or not at all.';
COMMENT ON COLUMN run.dtype IS 'Number type of the weights, such as float32; NULL where the model was never made.';
COMMENT ON COLUMN run.prompt_format IS 'JSON: the text around a question and before an answer; NULL where the model was never made.';
COMMENT ON COLUMN run.data_hash IS 'Version of the data: hash of everything that the benchmark gave (examples, texts to train on, rule); of a run made before schema 9, hash of its examples. NULL where they were never made. Runs of different versions are never compared.';
COMMENT ON COLUMN run.measurement IS 'Measurement version, from 1: it rises whenever a stored number would change; 1 for every run of a file that was made before versions were noted.';

CREATE TABLE stage (
    run_id VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    seconds DOUBLE NOT NULL CHECK (seconds >= 0),
    PRIMARY KEY (run_id, stage)
);
COMMENT ON TABLE stage IS 'Wall time of one stage of a run; of the methods none and retrain also the training of their model, which run.seconds leaves out.';
COMMENT ON COLUMN stage.run_id IS 'The run.';
COMMENT ON COLUMN stage.stage IS 'Name of the stage.';
COMMENT ON COLUMN stage.seconds IS 'Wall time, seconds.';

CREATE TABLE progress (
    run_id VARCHAR PRIMARY KEY,
    stage VARCHAR NOT NULL,
    done INTEGER NOT NULL CHECK (done >= 0),
    total INTEGER NOT NULL CHECK (total >= 0),
    updated_at VARCHAR NOT NULL
);
COMMENT ON TABLE progress IS 'Where an unfinished run stands; the row goes when the run is published.';
COMMENT ON COLUMN progress.run_id IS 'The run.';
COMMENT ON COLUMN progress.stage IS 'What it does now.';
COMMENT ON COLUMN progress.done IS 'Units of the stage done, from 0 to total.';
COMMENT ON COLUMN progress.total IS 'Units of the stage in all.';
COMMENT ON COLUMN progress.updated_at IS 'When this was noted: UTC, ISO 8601.';

CREATE TABLE checkpoint (
    run_id VARCHAR NOT NULL,
    step INTEGER NOT NULL CHECK (step >= 0),
    axis VARCHAR NOT NULL CHECK (axis IN ('step', 'alpha')),
    axis_value DOUBLE NOT NULL,
    is_final BOOLEAN NOT NULL,
    path VARCHAR,
    weight_hash VARCHAR NOT NULL,
    weight_change DOUBLE CHECK (weight_change >= 0),
    PRIMARY KEY (run_id, step)
);
COMMENT ON TABLE checkpoint IS 'The weights at one measured step of a run; step 0 and the final one are always measured.';
COMMENT ON COLUMN checkpoint.run_id IS 'The run.';
COMMENT ON COLUMN checkpoint.step IS 'Updates made so far; 0 before the first.';
COMMENT ON COLUMN checkpoint.axis IS 'What a curve runs over: step, or alpha for the task vector.';
COMMENT ON COLUMN checkpoint.axis_value IS 'Value on that axis: a count of steps, or the scale of the vector.';
COMMENT ON COLUMN checkpoint.is_final IS 'True for exactly one step of a run: the one that results are about.';
COMMENT ON COLUMN checkpoint.path IS 'Folder of the saved weights; NULL when they were not kept.';
COMMENT ON COLUMN checkpoint.weight_hash IS 'Hash of the weights.';
COMMENT ON COLUMN checkpoint.weight_change IS 'L2 norm of the difference to the base weights over the norm of those; 0 or more; NULL for quantized weights, and where shapes differ (another vocabulary).';

CREATE TABLE model_source (
    run_id VARCHAR PRIMARY KEY,
    source VARCHAR NOT NULL,
    revision VARCHAR,
    "commit" VARCHAR,
    adapter VARCHAR,
    adapter_commit VARCHAR,
    content_hash VARCHAR NOT NULL,
    attention VARCHAR NOT NULL,
    device_map VARCHAR,
    quantization VARCHAR CHECK (quantization IN ('int8', 'nf4')),
    trusted_code BOOLEAN NOT NULL,
    prompt_style VARCHAR NOT NULL,
    asked VARCHAR,
    stripped_prefix VARCHAR
);
COMMENT ON TABLE model_source IS 'Where the model of a run is from and how it was loaded; of a fine-tuned model, what it started from; no row for one that was trained from scratch here.';
COMMENT ON COLUMN model_source.run_id IS 'The run.';
COMMENT ON COLUMN model_source.source IS 'Repository of the hub (owner/name), or a folder.';
COMMENT ON COLUMN model_source.revision IS 'Branch, tag or commit that was asked for; NULL for the main branch and for a folder.';
COMMENT ON COLUMN model_source."commit" IS 'Commit that it was; NULL for a folder.';
COMMENT ON COLUMN model_source.adapter IS 'Repository or folder of the adapter that was folded into the weights; NULL without one.';
COMMENT ON COLUMN model_source.adapter_commit IS 'Commit of the adapter; NULL for a folder and without one.';
COMMENT ON COLUMN model_source.content_hash IS 'Hash of names and bytes of the files that were read, 16 hex digits.';
COMMENT ON COLUMN model_source.attention IS 'Implementation of attention, such as sdpa or eager.';
COMMENT ON COLUMN model_source.device_map IS 'JSON object: module to device; NULL where the model is on one device.';
COMMENT ON COLUMN model_source.quantization IS 'int8 or nf4; NULL for weights as they are stored.';
COMMENT ON COLUMN model_source.trusted_code IS 'Whether Python files that came with the weights were allowed to run.';
COMMENT ON COLUMN model_source.prompt_style IS 'JSON object: style of the prompt (saved, chat, inst, plain or auto), system message, arguments of the chat template.';
COMMENT ON COLUMN model_source.asked IS 'JSON object: how the model is asked and decoded, as it was loaded (style of the prompt, whether a BOS stands in front, which ids end an answer, decoding, settings of generation_config that are not applied); NULL where that was not noted.';
COMMENT ON COLUMN model_source.stripped_prefix IS 'Prefix of a known wrapper that was taken off the names of the stored weights, such as _orig_mod.; NULL where none was, or that was not noted.';

CREATE TABLE model_check (
    run_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    "check" VARCHAR NOT NULL,
    passed BOOLEAN NOT NULL,
    allowed BOOLEAN NOT NULL,
    figure DOUBLE,
    note VARCHAR NOT NULL,
    PRIMARY KEY (run_id, model, "check")
);
COMMENT ON TABLE model_check IS 'One check of a model that a run loaded, made before anything was measured. No rows where none was made.';
COMMENT ON COLUMN model_check.run_id IS 'The run.';
COMMENT ON COLUMN model_check.model IS 'Which of its models: measured, or base.';
COMMENT ON COLUMN model_check."check" IS 'Name of the check, such as weights, causal or border.';
COMMENT ON COLUMN model_check.passed IS 'Whether the model passed it.';
COMMENT ON COLUMN model_check.allowed IS 'Whether the user let the run go on although the model did not pass.';
COMMENT ON COLUMN model_check.figure IS 'What was measured, in the unit that note says; NULL for a check without a figure.';
COMMENT ON COLUMN model_check.note IS 'What was found, in words.';

CREATE TABLE left_out (
    run_id VARCHAR NOT NULL,
    example_id VARCHAR NOT NULL,
    tokens INTEGER NOT NULL,
    context INTEGER NOT NULL CHECK (context > 0),
    reason VARCHAR NOT NULL,
    PRIMARY KEY (run_id, example_id),
    CHECK (tokens > context)
);
COMMENT ON TABLE left_out IS 'An example that a run did not ask, since its model cannot: it counts in no figure of the run.';
COMMENT ON COLUMN left_out.run_id IS 'The run.';
COMMENT ON COLUMN left_out.example_id IS 'The example.';
COMMENT ON COLUMN left_out.tokens IS 'Tokens that it needs: its prompt with an answer, or with what the model may generate.';
COMMENT ON COLUMN left_out.context IS 'Tokens that the model reads at most.';
COMMENT ON COLUMN left_out.reason IS 'Why it was left out.';

CREATE TABLE step (
    run_id VARCHAR NOT NULL,
    step INTEGER NOT NULL CHECK (step >= 0),
    loss DOUBLE,
    gradient_norm DOUBLE CHECK (gradient_norm >= 0),
    learning_rate DOUBLE CHECK (learning_rate >= 0),
    PRIMARY KEY (run_id, step)
);
COMMENT ON TABLE step IS 'One step of an unlearning method.';
COMMENT ON COLUMN step.run_id IS 'The run.';
COMMENT ON COLUMN step.step IS 'Number of the step.';
COMMENT ON COLUMN step.loss IS 'Loss before the update, as the method defines it: its sign and unit differ between methods; NULL where a method has none.';
COMMENT ON COLUMN step.gradient_norm IS 'L2 norm before clipping, 0 or more; NULL where there is no gradient.';
COMMENT ON COLUMN step.learning_rate IS 'Learning rate of the update, 0 or more; NULL where there is none.';

CREATE TABLE answer (
    run_id VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    example_id VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    correct BOOLEAN NOT NULL,
    rouge_l_recall DOUBLE CHECK (rouge_l_recall BETWEEN 0 AND 1),
    logprob DOUBLE NOT NULL,
    guess_rate DOUBLE NOT NULL CHECK (guess_rate BETWEEN 0 AND 1)
);
COMMENT ON TABLE answer IS 'The greedy answer to one plain prompt at one measured step.';
COMMENT ON COLUMN answer.run_id IS 'The run.';
COMMENT ON COLUMN answer.step IS 'The measured step.';
COMMENT ON COLUMN answer.example_id IS 'The example, of the benchmark of the run.';
COMMENT ON COLUMN answer.text IS 'What the model said; rule multiple_choice: the option that it finds likeliest.';
COMMENT ON COLUMN answer.correct IS 'Whether it counts as correct by the rule of the benchmark.';
COMMENT ON COLUMN answer.rouge_l_recall IS 'ROUGE-L recall against the gold answer, in [0, 1]; reported, never the criterion. NULL where the gold answer has nothing in a-z0-9: it is undefined there.';
COMMENT ON COLUMN answer.logprob IS 'Log-probability of the gold answer, nats per token, at most 0.';
COMMENT ON COLUMN answer.guess_rate IS 'Fraction of the wrong values of the pool (rule fact_words: of the other questions of the same attribute) that the text would also pass for; rule multiple_choice: 1 / number of options; in [0, 1].';

CREATE TABLE attribution (
    run_id VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    example_id VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    target VARCHAR NOT NULL CHECK (target IN ('gold', 'base_generation', 'own_generation')),
    answer_tokens VARCHAR NOT NULL CHECK (answer_tokens IN ('all', 'novel')),
    answer VARCHAR NOT NULL,
    logprob DOUBLE NOT NULL,
    completeness_gap DOUBLE,
    path VARCHAR NOT NULL,
    token_ids INTEGER[] NOT NULL,
    tokens VARCHAR[] NOT NULL,
    token_classes VARCHAR[] NOT NULL,
    scores FLOAT[] NOT NULL,
    is_key BOOLEAN[] NOT NULL,
    steps INTEGER CHECK (steps > 0),
    reason VARCHAR,
    token_parts VARCHAR[],
    is_cross_key BOOLEAN[]
);
COMMENT ON TABLE attribution IS 'One answer attributed to its prompt by one method; lists have one entry a token, in the order of the encoded prompt; in a run by words (spec, probe.unit) one a word of the question, in nats per answer word. The view token_score has one row a token.';
COMMENT ON COLUMN attribution.run_id IS 'The run.';
COMMENT ON COLUMN attribution.step IS 'The measured step.';
COMMENT ON COLUMN attribution.example_id IS 'The example, of the benchmark of the run.';
COMMENT ON COLUMN attribution.method IS 'Name of the attribution method.';
COMMENT ON COLUMN attribution.target IS 'Whose answer: gold, base_generation or own_generation.';
COMMENT ON COLUMN attribution.answer_tokens IS 'Which tokens of it: all, or novel (words that are not in the prompt).';
COMMENT ON COLUMN attribution.answer IS 'The attributed answer.';
COMMENT ON COLUMN attribution.logprob IS 'Log-probability of the attributed answer tokens, nats per token (by words: per word), at most 0.';
COMMENT ON COLUMN attribution.completeness_gap IS 'Sum of the scores minus what they should sum to, nats; NULL where the method claims no completeness.';
COMMENT ON COLUMN attribution.path IS 'How it was computed: plain or shared (prefixes).';
COMMENT ON COLUMN attribution.token_ids IS 'Ids of the tokens in the vocabulary of the model; in a run by words (spec, probe.unit), the place of each word in the question.';
COMMENT ON COLUMN attribution.tokens IS 'Texts of the tokens.';
COMMENT ON COLUMN attribution.token_classes IS 'template, keyword, content, function or punctuation.';
COMMENT ON COLUMN attribution.scores IS 'Contributions, nats per answer token (by words: per answer word); above 0 the token supports the answer; NULL when it was not deleted or not moved, all NULL where `reason` says why.';
COMMENT ON COLUMN attribution.is_key IS 'Whether each is a KeyToken, settled on the base model; all NULL where KeyTokens are undefined.';
COMMENT ON COLUMN attribution.steps IS 'Intervals of the straight path of integrated gradients (trapezoid rule), a count; NULL for methods without a path, and where that was not noted.';
COMMENT ON COLUMN attribution.reason IS 'Why there are no scores (all are NULL then); NULL where there are.';
COMMENT ON COLUMN attribution.token_parts IS 'Part of the template that each was deleted with: system (the turns before the question), role (the markers of its own turn) or generation (all that stands behind it); tokens of one part share its contribution equally, so that their sum is the part''s; NULL for a token that was deleted alone, and in place of the list where all of them were.';
COMMENT ON COLUMN attribution.is_cross_key IS 'Whether each belongs to a word that is a KeyToken of the question''s first paraphrase, by the contributions there on the base model (cross-fitted: chosen and scored on different prompts). On the base run, of the new tokens of the gold answer to known questions; NULL where that was not measured.';

CREATE VIEW token_score AS
    SELECT run_id, step, example_id, method, target, answer_tokens,
        unnest(range(len(token_ids)))::INTEGER AS position, unnest(token_ids) AS token_id,
        unnest(tokens) AS token, unnest(token_classes) AS token_class, unnest(scores) AS score,
        unnest(is_key) AS is_key, unnest(token_parts) AS token_part
    FROM attribution;
COMMENT ON VIEW token_score IS 'Contribution of one prompt token to one answer; one row a token, from the lists of attribution.';
COMMENT ON COLUMN token_score.run_id IS 'The run.';
COMMENT ON COLUMN token_score.step IS 'The measured step.';
COMMENT ON COLUMN token_score.example_id IS 'The example, of the benchmark of the run.';
COMMENT ON COLUMN token_score.method IS 'Name of the attribution method.';
COMMENT ON COLUMN token_score.target IS 'Whose answer: gold, base_generation or own_generation.';
COMMENT ON COLUMN token_score.answer_tokens IS 'Which tokens of it: all or novel.';
COMMENT ON COLUMN token_score.position IS 'Place in the encoded prompt, from 0.';
COMMENT ON COLUMN token_score.token_id IS 'Id in the vocabulary of the model; by words the place of the word in the question.';
COMMENT ON COLUMN token_score.token IS 'Text of the token.';
COMMENT ON COLUMN token_score.token_class IS 'template, keyword, content, function or punctuation.';
COMMENT ON COLUMN token_score.score IS 'Contribution, nats per answer token (by words: per answer word); above 0 the token supports the answer; NULL when it was not deleted.';
COMMENT ON COLUMN token_score.is_key IS 'Whether it is a KeyToken, settled on the base model; NULL for the whole prompt where KeyTokens are undefined.';
COMMENT ON COLUMN token_score.token_part IS 'Part of the template that it was deleted with, see attribution.token_parts: its score is an equal share of the part''s; NULL when it was deleted alone.';

CREATE TABLE recovery (
    run_id VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    example_id VARCHAR NOT NULL,
    strategy VARCHAR NOT NULL,
    arm VARCHAR NOT NULL
        CHECK (arm IN ('treatment', 'placebo_same', 'placebo_foreign', 'placebo_format', 'resample')),
    draw INTEGER NOT NULL CHECK (draw >= 0),
    words VARCHAR[] NOT NULL,
    prompt VARCHAR,
    text VARCHAR,
    correct BOOLEAN,
    rouge_l_recall DOUBLE CHECK (rouge_l_recall BETWEEN 0 AND 1),
    logprob DOUBLE,
    guess_rate DOUBLE CHECK (guess_rate BETWEEN 0 AND 1),
    generated_tokens INTEGER CHECK (generated_tokens >= 0),
    seconds DOUBLE CHECK (seconds >= 0),
    reason VARCHAR,
    CHECK ((correct IS NULL) = (reason IS NOT NULL))
);
COMMENT ON TABLE recovery IS 'One attempt to bring an answer back, by the means that recovery_strategy says.';
COMMENT ON COLUMN recovery.run_id IS 'The run.';
COMMENT ON COLUMN recovery.step IS 'The measured step.';
COMMENT ON COLUMN recovery.example_id IS 'The example, of the benchmark of the run.';
COMMENT ON COLUMN recovery.strategy IS 'Name of the recovery strategy; resample for the plain prompt, drawn from.';
COMMENT ON COLUMN recovery.arm IS 'treatment; the same with other words: placebo_same, placebo_foreign, placebo_format; or resample, an answer to the plain prompt that was drawn at a temperature.';
COMMENT ON COLUMN recovery.draw IS 'Number of the draw, from 0; only random arms have several.';
COMMENT ON COLUMN recovery.words IS 'Words that were emphasised; empty where the strategy uses none, or there were none.';
COMMENT ON COLUMN recovery.prompt IS 'The prompt as it was put, without template; NULL where it could not be built.';
COMMENT ON COLUMN recovery.text IS 'What the model said; rule multiple_choice: the option that it finds likeliest; NULL where it was not asked.';
COMMENT ON COLUMN recovery.correct IS 'Whether that counts as correct; NULL where it was not asked.';
COMMENT ON COLUMN recovery.rouge_l_recall IS 'ROUGE-L recall against the gold answer, in [0, 1]; NULL where it was not asked, or where the gold answer has nothing in a-z0-9.';
COMMENT ON COLUMN recovery.logprob IS 'Log-probability of the gold answer under this prompt, nats per token, at most 0; NULL where it was not asked.';
COMMENT ON COLUMN recovery.guess_rate IS 'Fraction of the wrong values of the pool (rule fact_words: of the other questions of the same attribute) that the text would also pass for; rule multiple_choice: 1 / number of options; in [0, 1]; NULL where it was not asked.';
COMMENT ON COLUMN recovery.generated_tokens IS 'Tokens generated, a count, 0 for a choice between options; NULL where it was not asked.';
COMMENT ON COLUMN recovery.seconds IS 'Share of the wall time of its batch, seconds; NULL where it was not asked.';
COMMENT ON COLUMN recovery.reason IS 'Why there is no outcome; NULL where there is one.';

CREATE TABLE recovery_strategy (
    run_id VARCHAR NOT NULL,
    strategy VARCHAR NOT NULL,
    rung INTEGER NOT NULL CHECK (rung BETWEEN 1 AND 4),
    uses_key_tokens BOOLEAN NOT NULL,
    settings VARCHAR NOT NULL,
    PRIMARY KEY (run_id, strategy)
);
COMMENT ON TABLE recovery_strategy IS 'A way of bringing answers back that was tried on the final weights of a run.';
COMMENT ON COLUMN recovery_strategy.run_id IS 'The run.';
COMMENT ON COLUMN recovery_strategy.strategy IS 'Name of the recovery strategy.';
COMMENT ON COLUMN recovery_strategy.rung IS 'How strong its means are: 1 emphasis by wording, 2 emphasis inside the model, 3 another prompt without KeyTokens, 4 changed weights.';
COMMENT ON COLUMN recovery_strategy.uses_key_tokens IS 'Whether it emphasises KeyTokens; only then it has placebos and counts for any.';
COMMENT ON COLUMN recovery_strategy.settings IS 'JSON object: its settings; of relearning also folds, the forget groups and examples each copy was trained on.';

CREATE TABLE utility (
    run_id VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    task VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    example_id VARCHAR,
    value DOUBLE,
    unit VARCHAR NOT NULL,
    higher_is_better BOOLEAN NOT NULL,
    reason VARCHAR,
    CHECK ((value IS NULL) = (reason IS NOT NULL))
);
COMMENT ON TABLE utility IS 'One value of one metric of one task at one measured step.';
COMMENT ON COLUMN utility.run_id IS 'The run.';
COMMENT ON COLUMN utility.step IS 'The measured step.';
COMMENT ON COLUMN utility.task IS 'Name of the task.';
COMMENT ON COLUMN utility.metric IS 'Name of the metric.';
COMMENT ON COLUMN utility.example_id IS 'The example, of the benchmark of the run; NULL for a value of the whole task.';
COMMENT ON COLUMN utility.value IS 'The value, in `unit`; NULL when it could not be measured.';
COMMENT ON COLUMN utility.unit IS 'Unit of the value, such as nats per token or fraction.';
COMMENT ON COLUMN utility.higher_is_better IS 'Whether a higher value is a better model.';
COMMENT ON COLUMN utility.reason IS 'Why there is no value; NULL where there is one.';

CREATE TABLE statistic (
    run_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    scope VARCHAR NOT NULL,
    estimate DOUBLE,
    low DOUBLE,
    high DOUBLE,
    n INTEGER NOT NULL CHECK (n >= 0),
    groups INTEGER NOT NULL CHECK (groups >= 0),
    seed BIGINT,
    definition VARCHAR NOT NULL,
    reason VARCHAR,
    PRIMARY KEY (run_id, name, scope)
);
COMMENT ON TABLE statistic IS 'What SQL cannot say about a run (permutation p, KS, AUC, rank correlation), computed when it was published.';
COMMENT ON COLUMN statistic.run_id IS 'The run.';
COMMENT ON COLUMN statistic.name IS 'Name of the statistic.';
COMMENT ON COLUMN statistic.scope IS 'What it is over, such as split=forget method=leave_one_out.';
COMMENT ON COLUMN statistic.estimate IS 'The estimate, in the unit of `definition`; NULL when it could not be computed.';
COMMENT ON COLUMN statistic.low IS 'Lower end of its interval; NULL when there is none.';
COMMENT ON COLUMN statistic.high IS 'Upper end of its interval; NULL when there is none.';
COMMENT ON COLUMN statistic.n IS 'Examples it is over, a count.';
COMMENT ON COLUMN statistic.groups IS 'Groups these examples belong to, a count.';
COMMENT ON COLUMN statistic.seed IS 'Seed of a resampling; NULL where there is none.';
COMMENT ON COLUMN statistic.definition IS 'What is computed, in words, with unit and sign.';
COMMENT ON COLUMN statistic.reason IS 'Why there is no estimate; NULL where there is one.';

CREATE TABLE grade (
    run_id VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    example_id VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    target VARCHAR NOT NULL CHECK (target IN ('gold', 'base_generation', 'own_generation')),
    answer_tokens VARCHAR NOT NULL CHECK (answer_tokens IN ('all', 'novel')),
    measure VARCHAR NOT NULL CHECK (
        measure IN ('completeness_gap', 'rank_agreement', 'replace_agreement', 'deletion_gap')),
    value DOUBLE,
    unit VARCHAR NOT NULL,
    reason VARCHAR,
    PRIMARY KEY (run_id, step, example_id, method, target, answer_tokens, measure),
    CHECK ((value IS NULL) = (reason IS NOT NULL))
);
COMMENT ON TABLE grade IS 'One check of one attribution. An attribution without rows was not graded; the view graded_attribution makes a grade of them.';
COMMENT ON COLUMN grade.run_id IS 'The run.';
COMMENT ON COLUMN grade.step IS 'The measured step.';
COMMENT ON COLUMN grade.example_id IS 'The example, of the benchmark of the run.';
COMMENT ON COLUMN grade.method IS 'Name of the attribution method.';
COMMENT ON COLUMN grade.target IS 'Whose answer: gold, base_generation or own_generation.';
COMMENT ON COLUMN grade.answer_tokens IS 'Which tokens of it: all or novel.';
COMMENT ON COLUMN grade.measure IS 'completeness_gap: sum of the scores minus what they should sum to. rank_agreement: Spearman over the question tokens, leave_one_out with integrated_gradients, any other method with leave_one_out. replace_agreement: Spearman of deletion with replacement by a token that the run states. deletion_gap: what the answer loses without the highest-ranked tokens (as many as there are KeyTokens), minus what it loses without as many drawn at random, mean over the draws.';
COMMENT ON COLUMN grade.value IS 'The value in `unit`; correlations in [-1, 1]; deletion_gap above 0: the ranking found tokens that matter more than random ones. NULL when it could not be measured.';
COMMENT ON COLUMN grade.unit IS 'nats per answer token, or rank correlation.';
COMMENT ON COLUMN grade.reason IS 'Why there is no value; NULL where there is one.';

CREATE TABLE emphasised_focus (
    run_id VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    example_id VARCHAR NOT NULL,
    strategy VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    base_on_keys DOUBLE NOT NULL CHECK (base_on_keys BETWEEN 0 AND base_on_question),
    base_on_question DOUBLE NOT NULL,
    plain_on_keys DOUBLE NOT NULL CHECK (plain_on_keys BETWEEN 0 AND plain_on_question),
    plain_on_question DOUBLE NOT NULL,
    on_keys DOUBLE NOT NULL CHECK (on_keys BETWEEN 0 AND on_question),
    on_question DOUBLE NOT NULL,
    PRIMARY KEY (run_id, step, example_id, strategy)
);
COMMENT ON TABLE emphasised_focus IS 'Contributions to the novel tokens of the gold answer under one emphasised prompt (arm treatment, draw 0) whose plain answer was wrong, beside those under the plain prompt. Stored for recovered attempts and as many others of the same run and strategy.';
COMMENT ON COLUMN emphasised_focus.run_id IS 'The run.';
COMMENT ON COLUMN emphasised_focus.step IS 'The measured step.';
COMMENT ON COLUMN emphasised_focus.example_id IS 'The example, of the benchmark of the run.';
COMMENT ON COLUMN emphasised_focus.strategy IS 'Name of the recovery strategy.';
COMMENT ON COLUMN emphasised_focus.method IS 'Name of the attribution method, the one that KeyTokens come from.';
COMMENT ON COLUMN emphasised_focus.base_on_keys IS 'Plain prompt, base model: sum of the positive contributions of all tokens of the words of KeyTokens, nats per answer token, 0 or more.';
COMMENT ON COLUMN emphasised_focus.base_on_question IS 'The same over all tokens of the prompt but the template.';
COMMENT ON COLUMN emphasised_focus.plain_on_keys IS 'Plain prompt, the run: as base_on_keys.';
COMMENT ON COLUMN emphasised_focus.plain_on_question IS 'Plain prompt, the run: as base_on_question.';
COMMENT ON COLUMN emphasised_focus.on_keys IS 'Emphasised prompt, the run: as base_on_keys, wherever these words stand in it.';
COMMENT ON COLUMN emphasised_focus.on_question IS 'Emphasised prompt, the run: as base_on_question.';

CREATE TABLE content (
    run_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    rows BIGINT NOT NULL CHECK (rows >= 0),
    digest VARCHAR NOT NULL,
    library VARCHAR NOT NULL,
    PRIMARY KEY (run_id, name)
);
COMMENT ON TABLE content IS 'What a run put into one table, noted when it was published: verify counts and digests again.';
COMMENT ON COLUMN content.run_id IS 'The run.';
COMMENT ON COLUMN content.name IS 'Name of the table.';
COMMENT ON COLUMN content.rows IS 'Rows of the run in that table, a count.';
COMMENT ON COLUMN content.digest IS 'Sum of the hashes of these rows, in any order.';
COMMENT ON COLUMN content.library IS 'Version of DuckDB that made the digest; only the same version can check it.';

CREATE TABLE answer_token_class (
    run_id VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    example_id VARCHAR NOT NULL,
    answer_class VARCHAR NOT NULL CHECK (
        answer_class IN ('fact', 'keyword', 'content', 'function', 'punctuation', 'template')),
    tokens INTEGER NOT NULL CHECK (tokens > 0),
    logprob DOUBLE NOT NULL,
    gradient DOUBLE CHECK (gradient >= 0)
);
COMMENT ON TABLE answer_token_class IS 'The tokens of one class in the gold answer to one prompt at one measured step: how likely they are, and how hard the loss pushes them.';
COMMENT ON COLUMN answer_token_class.run_id IS 'The run.';
COMMENT ON COLUMN answer_token_class.step IS 'The measured step.';
COMMENT ON COLUMN answer_token_class.example_id IS 'The example, of the benchmark of the run.';
COMMENT ON COLUMN answer_token_class.answer_class IS 'fact (a word of what a correct answer contains), keyword (of the prompt), content, function, punctuation, or template (the end of the answer).';
COMMENT ON COLUMN answer_token_class.tokens IS 'Tokens of this class in the gold answer, a count.';
COMMENT ON COLUMN answer_token_class.logprob IS 'Sum of their log-probabilities, teacher forced, nats, at most 0.';
COMMENT ON COLUMN answer_token_class.gradient IS 'Sum over them of the L2 norm of the gradient of the method''s loss by the logits that predict the token (by the steered activation, for RMU), 0 or more; NULL where the loss does not read this answer, or there is none.';

CREATE TABLE text_token_class (
    run_id VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    text INTEGER NOT NULL CHECK (text >= 0),
    answer_class VARCHAR NOT NULL CHECK (
        answer_class IN ('fact', 'keyword', 'content', 'function', 'punctuation', 'template')),
    tokens INTEGER NOT NULL CHECK (tokens > 0),
    gradient DOUBLE NOT NULL CHECK (gradient >= 0),
    PRIMARY KEY (run_id, step, text, answer_class)
);
COMMENT ON TABLE text_token_class IS 'The tokens of one class in one document that is unlearned, at one measured step: how hard the loss pushes them. No rows where questions are unlearned, or where the loss does not read the documents.';
COMMENT ON COLUMN text_token_class.run_id IS 'The run.';
COMMENT ON COLUMN text_token_class.step IS 'The measured step.';
COMMENT ON COLUMN text_token_class.text IS 'The document, by its place among those of the forget set, from 0.';
COMMENT ON COLUMN text_token_class.answer_class IS 'fact (a fact about whom the document is), keyword (a word that the questions about it ask with), content, function, punctuation, or template (the end of the document).';
COMMENT ON COLUMN text_token_class.tokens IS 'Tokens of this class in the document, a count.';
COMMENT ON COLUMN text_token_class.gradient IS 'Sum over them of the L2 norm of the gradient of the method''s loss by the logits that predict the token (by the steered activation, for RMU), 0 or more.';

CREATE TABLE depth (
    run_id VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    example_id VARCHAR,
    method VARCHAR NOT NULL,
    measure VARCHAR NOT NULL,
    block INTEGER CHECK (block >= 0),
    value DOUBLE,
    unit VARCHAR NOT NULL,
    reason VARCHAR,
    CHECK ((value IS NULL AND reason IS NOT NULL) OR (value IS NOT NULL AND reason IS NULL
        AND block IS NOT NULL AND example_id IS NOT NULL))
);
COMMENT ON TABLE depth IS 'What the states of one block still tell of one example, on the final weights; docs/depth.md says what each measure is.';
COMMENT ON COLUMN depth.run_id IS 'The run.';
COMMENT ON COLUMN depth.step IS 'The measured step.';
COMMENT ON COLUMN depth.example_id IS 'The example, of the benchmark of the run; NULL where a whole method has no value.';
COMMENT ON COLUMN depth.method IS 'Name of the method of depth.';
COMMENT ON COLUMN depth.measure IS 'What the method measures, e.g. drop of uds.';
COMMENT ON COLUMN depth.block IS 'The block, from 0, whose own output it is about; NULL where no block has a value.';
COMMENT ON COLUMN depth.value IS 'The number, in the unit of the measure.';
COMMENT ON COLUMN depth.unit IS 'nats/token, nats, rank (1 is the likeliest token) or fraction.';
COMMENT ON COLUMN depth.reason IS 'Why there is no value; NULL where there is one.';

CREATE TABLE outside_run (
    outside_id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL UNIQUE,
    project VARCHAR NOT NULL CHECK (project IN ('open-unlearning')),
    benchmark VARCHAR NOT NULL CHECK (benchmark IN ('tofu', 'muse')),
    kind VARCHAR NOT NULL CHECK (kind IN ('EVAL', 'SUMMARY')),
    source VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    rows BIGINT NOT NULL CHECK (rows > 0),
    imported_at VARCHAR NOT NULL
);
COMMENT ON TABLE outside_run IS 'An evaluation that another project made. It is laid beside runs, and is in no verdict, interval, ranking or base score: those read table run.';
COMMENT ON COLUMN outside_run.outside_id IS 'First 12 hex digits of the hash of name, benchmark and file.';
COMMENT ON COLUMN outside_run.name IS 'What it is called here.';
COMMENT ON COLUMN outside_run.project IS 'The project whose definitions its metrics have.';
COMMENT ON COLUMN outside_run.benchmark IS 'tofu or muse; a file does not say which part of it.';
COMMENT ON COLUMN outside_run.kind IS 'EVAL: with values by row. SUMMARY: aggregates alone.';
COMMENT ON COLUMN outside_run.source IS 'The file that was read, as it was named.';
COMMENT ON COLUMN outside_run.sha256 IS 'SHA-256 of that file, 64 hex digits.';
COMMENT ON COLUMN outside_run.rows IS 'Its rows of outside_metric, a count.';
COMMENT ON COLUMN outside_run.imported_at IS 'When it was read: UTC, ISO 8601.';

CREATE TABLE outside_metric (
    outside_id VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    part VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    "index" INTEGER CHECK ("index" >= 0),
    place INTEGER CHECK (place >= 0),
    value DOUBLE,
    text VARCHAR,
    reason VARCHAR,
    CHECK ((value IS NULL AND text IS NULL AND reason IS NOT NULL)
        OR (value IS NULL AND text IS NOT NULL AND reason IS NULL)
        OR (value IS NOT NULL AND text IS NULL AND reason IS NULL))
);
COMMENT ON TABLE outside_metric IS 'One value of an evaluation that was made elsewhere, in the form of that project.';
COMMENT ON COLUMN outside_metric.outside_id IS 'The evaluation.';
COMMENT ON COLUMN outside_metric.metric IS 'Name of the metric there.';
COMMENT ON COLUMN outside_metric.part IS 'forget or holdout, of a membership attack; else empty.';
COMMENT ON COLUMN outside_metric.key IS 'agg_value (the metric), auc, or what a row holds: prob, avg_loss, score, rouge1_recall, rougeL_recall, rougeL_f1, input, ground_truth, generation.';
COMMENT ON COLUMN outside_metric."index" IS 'Row of its data table, from 0; NULL for the aggregate.';
COMMENT ON COLUMN outside_metric.place IS 'Which of several answers, from 0; NULL where a row has one.';
COMMENT ON COLUMN outside_metric.value IS 'The number, in the unit of that project; NULL for a text, and where the file has none.';
COMMENT ON COLUMN outside_metric.text IS 'A text; NULL for a number.';
COMMENT ON COLUMN outside_metric.reason IS 'Why there is neither; NULL where there is one.';
