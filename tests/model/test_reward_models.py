"""Reward models as TRL's trainers save them: tiny classifiers, compared with transformers' own forward pass."""

import pytest
import torch
from tiny import make_base, make_tokenizer

from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.problem import Problem
from colasearch.rewards import reward_of
from colasearch.verifiers.rewards import rewards

PROBLEM = Problem.from_text("What is 2+3?")
TEXTS = ["2+3=5\nso 5", "7", "it is a much longer text\nof two lines"]


def save_classifier(folder, kind, labels, template=True):
    """What RewardTrainer (sequence, one label) and PRMTrainer (token, two labels) save."""
    import transformers

    tokenizer = make_tokenizer()
    if not template:
        tokenizer.chat_template = None
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=96, initializer_range=0.4, bos_token_id=None,
        eos_token_id=0, pad_token_id=0, num_labels=labels,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = getattr(transformers, f"LlamaFor{kind}Classification")(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.eval(), tokenizer


@torch.no_grad()
def test_an_outcome_model_reads_the_chat_template(tmp_path):
    model, tokenizer = save_classifier(tmp_path, "Sequence", 1)
    expected = []
    for text in TEXTS:
        chat = [{"role": "user", "content": PROBLEM.text}, {"role": "assistant", "content": text}]
        row = tokenizer(tokenizer.apply_chat_template(chat, tokenize=False), return_tensors="pt")["input_ids"]
        expected.append(float(model(input_ids=row).logits.sigmoid()))
    found = rewards(reward_of([f"rm:{tmp_path}?batch=2"]), [PROBLEM] * 3, TEXTS)
    assert found == pytest.approx(expected, abs=1e-5)
    assert len(set(found)) == 3
    raw = rewards(reward_of([f"rm:{tmp_path}?scale=given"]), [PROBLEM], TEXTS[:1])
    assert raw == pytest.approx([torch.tensor(expected[0]).logit().item()], abs=1e-4)


@torch.no_grad()
def test_an_outcome_model_without_chat_template(tmp_path):
    model, tokenizer = save_classifier(tmp_path, "Sequence", 1, template=False)
    row = [*tokenizer(f"{PROBLEM.text}\n{TEXTS[0]}")["input_ids"], tokenizer.eos_token_id]
    expected = float(model(input_ids=torch.tensor([row])).logits.sigmoid())
    assert rewards(reward_of([f"rm:{tmp_path}"]), [PROBLEM], TEXTS[:1]) == pytest.approx([expected], abs=1e-5)


@torch.no_grad()
def test_a_process_model_judges_each_step_at_its_separator(tmp_path):
    model, tokenizer = save_classifier(tmp_path, "Token", 2)
    values = []
    for text in TEXTS:
        # As PRMTrainer lays rows out: prompt, then each step and the separator.
        tokens, places = list(tokenizer(PROBLEM.text)["input_ids"]), []
        for step in text.split("\n"):
            tokens += tokenizer(step)["input_ids"] + tokenizer("\n")["input_ids"]
            places.append(len(tokens) - 1)
        values.append(model(input_ids=torch.tensor([tokens])).logits[0, places].softmax(-1)[:, 1].tolist())
    mix = reward_of([f"prm:{tmp_path}"])
    (source, _), *_ = mix.parts
    for found, wanted in zip(source.steps([PROBLEM] * 3, TEXTS), values, strict=True):
        assert found == pytest.approx(wanted, abs=1e-5)
    for how, one in (("min", min), ("last", lambda v: v[-1]), ("mean", lambda v: sum(v) / len(v))):
        found = rewards(reward_of([f"prm:{tmp_path}?aggregation={how}"]), [PROBLEM] * 3, TEXTS)
        assert found == pytest.approx([one(v) for v in values], abs=1e-5)
    assert mix.score([PROBLEM], [" \n"])[0].reason == "the text has no step"


@torch.no_grad()
def test_a_shepherd_says_plus_or_minus_after_each_step(tmp_path):
    from transformers import AutoModelForCausalLM

    folder = make_base(tmp_path / "lm")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), make_tokenizer()
    tokens = tokenizer(f"{PROBLEM.text} 2+3=5 ки\nso 5 ки")["input_ids"]
    tag, good, bad = (tokenizer(word)["input_ids"][-1] for word in ("ки", "+", "-"))
    logits = model(input_ids=torch.tensor([tokens])).logits[0, [i for i, t in enumerate(tokens) if t == tag]]
    expected = logits[:, [bad, good]].softmax(-1)[:, 1].min()
    found = rewards(reward_of([f"prm:{folder}?kind=shepherd"]), [PROBLEM], TEXTS[:1])
    assert found == pytest.approx([float(expected)], abs=1e-5)


def test_models_that_are_no_reward_models(tmp_path, base_folder):
    with pytest.raises(PrerequisiteError, match=r"is LlamaForCausalLM; it must be ForSequenceClassification"):
        reward_of([f"rm:{base_folder}"])
    with pytest.raises(PrerequisiteError, match="does not exist"):
        reward_of(["prm:./nothing"])
    save_classifier(tmp_path / "three", "Sequence", 3)
    with pytest.raises(PrerequisiteError, match="3 outputs"):
        reward_of([f"rm:{tmp_path / 'three'}"])
    save_classifier(tmp_path / "short", "Sequence", 1)
    (long,) = reward_of([f"rm:{tmp_path / 'short'}?length=20"]).score([PROBLEM], ["text " * 9])
    assert long.failed
    assert "takes 20" in long.reason


def test_a_classifier_without_its_head_is_not_read_with_a_random_one(tmp_path):
    from safetensors.torch import load_file, save_file

    save_classifier(tmp_path, "Sequence", 1)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptFileError, match=r"score\.weight"):
        reward_of([f"rm:{tmp_path}"])


def save_qwen(folder):
    """Qwen2.5-Math-PRM's folder: a Qwen2's tensors and ``score.0``, ``score.2``; its config names code of its own."""
    import json

    import transformers
    from safetensors.torch import save_file

    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<extra_0>"]})
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=256, initializer_range=0.4, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        body = transformers.Qwen2Model(config).eval()
        head = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    folder.mkdir()
    tensors = {f"model.{name}": value for name, value in body.state_dict().items()}
    tensors |= {f"score.{name}": value.detach() for name, value in head.state_dict().items()}
    tensors["lm_head.weight"] = torch.zeros(len(tokenizer), 16)  # the published files have one, which nothing reads
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    written = {**config.to_dict(), "architectures": ["Qwen2ForProcessRewardModel"]}
    written["auto_map"] = {"AutoModel": "modeling_qwen2_rm.Qwen2ForProcessRewardModel"}
    (folder / "config.json").write_text(json.dumps(written))
    tokenizer.save_pretrained(folder)
    return body, head, tokenizer


@torch.no_grad()
def test_qwens_head_judges_each_step_at_its_token(tmp_path):
    body, head, tokenizer = save_qwen(tmp_path / "qwen")
    text = "2+3=5\n\nso 5\nit is"
    chat = [
        {"role": "system", "content": r"Please reason step by step, and put your final answer within \boxed{}."},
        {"role": "user", "content": PROBLEM.text},
        {"role": "assistant", "content": "2+3=5<extra_0>so 5\nit is<extra_0>"},
    ]
    tokens = tokenizer(tokenizer.apply_chat_template(chat, tokenize=False), return_tensors="pt")["input_ids"]
    marks = tokens[0] == tokenizer.convert_tokens_to_ids("<extra_0>")
    wanted = head(body(input_ids=tokens).last_hidden_state)[0, marks].softmax(-1)[:, 1].tolist()
    mix = reward_of([f"prm:{tmp_path / 'qwen'}?kind=qwen"])
    (source, _), *_ = mix.parts
    alone, both = source.steps([PROBLEM] * 2, ["2+3=5", text])
    assert both == pytest.approx(wanted, abs=1e-5)
    assert len(alone) == 1
    assert rewards(mix, [PROBLEM], [text]) == [pytest.approx(min(wanted), abs=1e-5)]
    with pytest.raises(PrerequisiteError, match="must be ForTokenClassification"):
        reward_of([f"prm:{tmp_path / 'qwen'}"])
    from safetensors.torch import load_file, save_file

    tensors = load_file(tmp_path / "qwen/model.safetensors")
    del tensors["score.2.bias"]
    save_file(tensors, tmp_path / "qwen/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptFileError, match=r"score\.2\.bias"):
        reward_of([f"prm:{tmp_path / 'qwen'}?kind=qwen"])


@torch.no_grad()
def test_rlhflows_model_answers_each_step_in_its_turn(tmp_path):
    from transformers import AutoModelForCausalLM

    folder = make_base(tmp_path / "lm")
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<end>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    chat, wanted = [], []
    for number, step in enumerate(["2+3=5", "so 5"]):
        # As RLHFlow's own evaluation: one conversation a step, read where the answer begins.
        chat.append({"role": "user", "content": step if number else f"{PROBLEM.text} {step}"})
        prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        logits = model(input_ids=torch.tensor([tokenizer(prompt)["input_ids"]])).logits[0, -1]
        plus, minus = (tokenizer(word)["input_ids"][-1] for word in "+-")
        wanted.append(float(logits[[plus, minus]].softmax(-1)[0]))
        chat.append({"role": "assistant", "content": "+"})
    mix = reward_of([f"prm:{folder}?kind=rlhflow"])
    (source, _), *_ = mix.parts
    (found,) = source.steps([PROBLEM], ["2+3=5\nso 5"])
    assert found == pytest.approx(wanted, abs=1e-4)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(PrerequisiteError, match="no chat template"):
        reward_of([f"prm:{folder}?kind=rlhflow"])
