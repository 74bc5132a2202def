"""``bench forgetting``: a model before and after, on codes and on tokens, on text and on a task of lm-eval."""

import json
import shutil

import pytest
import torch
from tiny import make_base

from colasearch.benchmarks.harness.forgetting import Heard, forgotten, hear
from colasearch.model.latent_lm import LatentLM, load_latents, save_latents


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": f"Text number {n} is about {n * n}."}) + "\n" for n in range(12)))
    return path


def worsened(model_folder, folder):
    """The same model with another policy: worse on codes, the same on tokens."""
    modules = load_latents(model_folder)
    with torch.no_grad():
        modules.policy.head.weight.mul_(-20)
    save_latents(modules, folder, dtype=torch.float32)
    return folder


def test_a_changed_policy_shows_on_codes_and_not_on_tokens(colasearch, model_folder, tmp_path, texts):
    after = worsened(model_folder, tmp_path / "after")
    done = colasearch(
        "bench", "forgetting", "--before", model_folder, "--after", after, "--data", texts, "--device", "cpu", "--json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["texts"] == 12
    codes, tokens = found["rows"]
    assert (codes["on"], tokens["on"]) == ("codes", "tokens")
    assert tokens["difference"] == 0
    assert tokens["separate"] is False
    assert codes["difference"] != 0
    assert codes["ci95"][0] <= codes["difference"] <= codes["ci95"][1]
    # The same numbers as over one text at a time.
    lm = LatentLM.from_pretrained(str(model_folder), "cpu", "float32")
    total = count = 0.0
    for line in texts.read_text().splitlines():
        row = lm.base.tokenizer(json.loads(line)["text"])["input_ids"]
        logits = lm.base.model(torch.tensor([row])).logits[0].log_softmax(-1)
        total -= sum(float(logits[i - 1, row[i]]) for i in range(1, len(row)))
        count += len(row) - 1
    assert found["tokens"] in (count, count + 12)  # texts may be closed by the end token
    if found["tokens"] == count:
        assert tokens["before"]["nats"] == pytest.approx(total / count, abs=1e-4)


def test_models_that_read_text_differently_are_not_compared(colasearch, base_folder, tmp_path, texts):
    other = shutil.copytree(base_folder, tmp_path / "other")
    words = json.loads((other / "tokenizer.json").read_text())
    vocabulary = words["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (other / "tokenizer.json").write_text(json.dumps(words))
    done = colasearch(
        "bench", "forgetting", "--before", base_folder, "--after", other, "--data", texts, "--on", "tokens"
    )
    assert done.returncode == 2
    assert "different tokens" in done.stderr
    done = colasearch("bench", "forgetting", "--before", base_folder, "--after", base_folder, "--data", texts)
    assert done.returncode == 3
    assert "no latent modules" in done.stderr


def test_the_interval_is_over_texts():
    before = Heard((10.0, 20.0, 30.0, 40.0) * 10, (10, 10, 10, 10) * 10)
    after = Heard(tuple(n + 1 for n in before.nats), before.tokens)
    found = forgotten(before, after)
    assert found["difference"] == pytest.approx(0.1)
    assert found["ci95"] == [pytest.approx(0.1), pytest.approx(0.1)]
    assert found["separate"] is True
    assert found["worse"] == 1.0
    mixed = Heard(tuple(n + (5 if i % 2 else -5) for i, n in enumerate(before.nats)), before.tokens)
    assert forgotten(before, mixed)["separate"] is False


TASK = """
task: tiny_choice
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_target: "{{label}}"
doc_to_choice: "{{choices}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture
def task(tmp_path):
    rows = [{"question": f"{n}+1=", "choices": [str(n + 1), "x", "zebra"], "label": n % 3} for n in range(9)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "task.yaml"
    path.write_text(TASK.replace("FILE", str(tmp_path / "rows.jsonl")))
    return path


def test_lm_eval_runs_a_task_on_our_models(model_folder, tmp_path, task, capsys):
    pytest.importorskip("lm_eval.evaluator", reason="lm-eval is not installed: pip install '.[lm-eval]'")
    from colasearch.cli.main import main
    from colasearch.model.likelihood import likelihoods

    after = worsened(model_folder, tmp_path / "after")
    args = ["--before", str(model_folder), "--after", str(after), "--device", "cpu"]
    assert main(["bench", "forgetting", *args, "--data", f"lm-eval:{task}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    (codes,), (tokens,) = ([m for m in found["metrics"] if m["on"] == on] for on in ("codes", "tokens"))
    assert tokens["difference"] == 0
    # The accuracy is that of the choices that our likelihoods prefer.
    lm = LatentLM.from_pretrained(str(after), "cpu", "float32")
    right = 0
    for n in range(9):
        rows = [lm.base.tokenizer(f"{n}+1= {choice}")["input_ids"] for choice in (str(n + 1), "x", "zebra")]
        scores = [one.total for one in likelihoods(lm, rows, [len(f"{n}+1=")] * 3, "codes")]
        right += scores.index(max(scores)) == n % 3
    assert codes["after"] == pytest.approx(right / 9)


def test_lm_evals_requests_are_answered(model_folder):
    """The three requests, through lm-eval's own base class and registry."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install '.[lm-eval]'")
    from lm_eval.api.instance import Instance
    from lm_eval.api.registry import get_model

    from colasearch.benchmarks.harness import lm_eval_model
    from colasearch.model.likelihood import likelihoods

    assert get_model("colasearch") is lm_eval_model.ColasearchLM
    model = lm_eval_model.ColasearchLM.create_from_arg_string(
        f"pretrained={model_folder},on=codes,max_length=64", {"device": "cpu", "batch_size": 4}
    )
    encode = lambda text: model.tokenizer(text)["input_ids"]  # noqa: E731

    def ask(kind, *arguments):
        return getattr(model, kind)(
            [Instance(request_type=kind, doc={}, arguments=one, idx=i) for i, one in enumerate(arguments)],
            disable_tqdm=True,
        )

    pair, alone = ask("loglikelihood", ("2+3= ", "5"), ("", "abc"))
    (wanted,) = likelihoods(model.lm, [encode("2+3= 5")], [4], "codes")  # the space goes with what follows it
    assert pair == (pytest.approx(wanted.total, abs=1e-4), wanted.greedy)
    (wanted,) = likelihoods(model.lm, [[model.prefix_token_id, *encode("abc")]], [1], "codes")
    assert alone[0] == pytest.approx(wanted.total, abs=1e-4)
    # A text longer than the context: every token once.
    short, long = ask("loglikelihood_rolling", ("abc",), ("x" * 150,))
    assert short == pytest.approx(wanted.total, abs=1e-4)
    assert long < short
    whole, stopped = ask(
        "generate_until",
        ("Say it", {"until": [], "max_gen_toks": 12}),
        ("Say it", {"until": ["\0"], "max_gen_toks": 12}),
    )
    assert stopped == whole.partition("\0")[0]
    mark = whole[3]
    (cut,) = ask("generate_until", ("Say it", {"until": [mark], "max_gen_toks": 12}))
    assert cut == whole.partition(mark)[0]
    draws = {"until": [], "max_gen_toks": 12, "do_sample": True, "temperature": 1.5}
    assert ask("generate_until", ("Say it", draws)) == ask("generate_until", ("Say it", draws))


def test_a_base_without_codes_is_measured_on_tokens(base_folder):
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install '.[lm-eval]'")
    from colasearch.benchmarks.harness.lm_eval_model import ColasearchLM
    from colasearch.errors import InputError

    assert ColasearchLM(str(make_base(base_folder.parent / "again")), device="cpu").under == "tokens"
    with pytest.raises(InputError, match="none of auto"):
        ColasearchLM(str(base_folder), on="both")


def test_of_an_episode_all_but_its_actions_is_measured(model_folder):
    lm = LatentLM.from_pretrained(str(model_folder), "cpu", "float32")
    rows = [list(range(5, 25)), list(range(40, 52))]
    spans = [((6, 9), (15, 20)), ()]
    found = hear(lm, rows, [1, 3], "tokens", left_out=spans)
    for place, (row, start, out) in enumerate(zip(rows, [1, 3], spans, strict=True)):
        log_probs = lm.base.model(torch.tensor([row])).logits[0].log_softmax(-1)
        counted = [i for i in range(start, len(row)) if not any(begin <= i < end for begin, end in out)]
        assert found.tokens[place] == len(counted)
        assert found.nats[place] == pytest.approx(-sum(float(log_probs[i - 1, row[i]]) for i in counted), abs=1e-3)
