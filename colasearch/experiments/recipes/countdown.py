"""Countdown from nothing: a small base, latent actions, RL on codes against RL on tokens, search, and both in turn.

All numbers are in ``countdown_recipe.py``; ``stages`` says what is run, in order; ``docs/experiments.md`` says why.
"""

from __future__ import annotations

from colasearch.experiments.recipes.countdown_recipe import Recipe, listed
from colasearch.experiments.recipes.guided import guided_by_search
from colasearch.experiments.running.stages import Stage, Stages

FINAL_BENCH, HARDER_BENCH = "bench-final", "bench-harder"


def stages(recipe: Recipe) -> list[Stage]:
    """The stages of ``recipe``, in order."""
    recipe.check()
    plan = Stages()
    at = ("--threads", recipe.threads)
    seeded = ("--seed", recipe.seed, *at)
    alone = ("--seed", recipe.seed, "--threads", recipe.chain_threads)

    def problems(name: str, about: str, count: int, number: int, split: str = "train") -> str:
        seed = ("--seed", recipe.seed * 100 + number)  # another set for each purpose
        kind = ("train", "problems", "--kind", "countdown", "--split", split, "--skill", recipe.skill)
        return plan.add(name, about, *kind, "--count", count, *seed, output="problems.jsonl")

    train = problems("train-problems", "worked solutions, many of which fail", recipe.train_problems, 1)
    actions_rows = problems("action-problems", "rows for latent actions and cloning", recipe.action_problems, 1)
    guide_rows = problems("guide-problems", "rows for fine-tuning under codes", recipe.guide_problems, 1)
    rl_rows = problems("rl-problems", "problems to roll out", recipe.rl_problems, 2)
    trace_rows = problems("trace-problems", "problems to search for the value head", recipe.trace_problems, 3)
    held_rows = problems(
        "heldout-problems", "numbers and targets that training never sees", recipe.heldout_problems, 4, "heldout"
    )
    base = _base(plan, recipe, train, alone)
    policy = _latent(plan, recipe, base, actions_rows, alone)
    # What is first in order is begun first: unless RL starts from it, guided fine-tuning waits for a core that is free.
    guide = _guide(plan, recipe, policy, guide_rows, seeded) if recipe.rl_start == "guide" else ""
    codes, tokens = _rl(plan, recipe, policy, guide or policy, rl_rows, seeded)
    value = _value(plan, recipe, codes, trace_rows, seeded)
    final = _in_turn(plan, recipe, value, rl_rows, held_rows, seeded)
    guide = guide or _guide(plan, recipe, policy, guide_rows, seeded)
    for name, about, folder, actions in (
        ("bench-base", "greedy: the base, on tokens", base, "sampled"),
        ("bench-policy", "greedy: codes of stage 2", policy, "latent"),
        ("bench-guide", "greedy: codes after guided fine-tuning", guide, "latent"),
        ("bench-rl-tokens", "greedy: after RL on tokens", tokens, "sampled"),
        ("bench-rl-codes", "greedy: after RL on codes", codes, "latent"),
    ):
        _greedy(plan, recipe, name, about, ("--model", f"{folder}/model", "--actions", actions), seeded)
    _search(plan, recipe, value, final, seeded)
    return plan.found


def _base(plan: Stages, recipe: Recipe, rows: str, seeded: tuple[object, ...]) -> str:
    return plan.add(
        "base",
        "a small Llama over characters, from scratch",
        *("train", "base", "--data", rows, "--heldout", 0.01),
        *("--width", recipe.width, "--layers", recipe.layers, "--heads", recipe.heads, "--context", recipe.context),
        *("--epochs", recipe.base_epochs, "--batch-tokens", recipe.base_batch_tokens, "--lr", recipe.base_lr),
        *("--warmup-steps", recipe.base_warmup_steps, *(["--bfloat16"] if recipe.bfloat16 else []), *seeded),
    )


def _latent(plan: Stages, recipe: Recipe, base: str, rows: str, seeded: tuple[object, ...]) -> str:
    """Stages 1 and 2; returns the folder of the latter."""
    warm = ("--warmup-steps", recipe.base_warmup_steps)
    actions = plan.add(
        "actions",
        "stage 1: inverse dynamics model, codebook, merge head",
        *("train", "actions", "--model", f"{base}/model", "--data", rows, "--codes", recipe.codes),
        *("--epochs", recipe.action_epochs, "--lr", recipe.action_lr, *warm, *seeded),
    )
    return plan.add(
        "policy",
        "stage 2: the policy clones the inverse dynamics model's codes",
        *("train", "policy", "--model", f"{actions}/model", "--data", rows),
        *("--epochs", recipe.policy_epochs, "--lr", recipe.action_lr, *warm, *seeded),
    )


def _guide(plan: Stages, recipe: Recipe, policy: str, rows: str, seeded: tuple[object, ...]) -> str:
    return plan.add(
        "guide",
        f"the base learns to write under codes (FTA-{'P' if recipe.guide_codes == 'policy' else 'I'})",
        *("train", "guide", "--model", f"{policy}/model", "--data", rows, "--codes", recipe.guide_codes),
        *("--tune", "full", "--epochs", recipe.guide_epochs, "--lr", recipe.guide_lr, *seeded),
    )


def _rl(
    plan: Stages, recipe: Recipe, policy: str, start: str, rows: str, seeded: tuple[object, ...]
) -> tuple[str, str]:
    """RL on codes, and on tokens as its control; equal but for what is chosen and what is trained."""
    common = (*_rl_options(recipe, rows, recipe.rl_rounds), "--heldout", recipe.rl_heldout, *seeded)
    codes = plan.add(
        "rl-codes",
        "RL on latent codes: the policy trains",
        *("train", "rl", "--model", f"{start}/model", "--lr", recipe.rl_lr, *_merged(recipe), *common),
    )
    # The control starts from the base as it was trained on the same text: fine-tuned under codes it writes worse alone.
    tokens = plan.add(
        "rl-tokens",
        "the control, RL on tokens: as many of the base's numbers train",
        *("train", "rl", "--model", f"{policy}/model", "--on", "tokens", "--match-policy"),
        *("--lr", recipe.rl_token_lr, *common),
    )
    return codes, tokens


def _rl_options(recipe: Recipe, rows: str, rounds: int) -> tuple[object, ...]:
    return (
        *("--data", rows, "--task", "countdown", "--algorithm", recipe.algorithm, "--rounds", rounds),
        *("--batch", recipe.rl_batch, "--group", recipe.rl_group, "--rows", recipe.rl_batch * recipe.rl_group),
        *("--max-new-tokens", recipe.max_new_tokens, "--format-weight", recipe.format_weight),
        *("--beta", recipe.rl_beta, "--warmup-steps", recipe.rl_warmup_steps),
        *("--evaluate-every", recipe.rl_evaluate_every),
    )


def _merged(recipe: Recipe) -> tuple[object, ...]:
    return ("--merge-codes", recipe.rl_merge_codes) if recipe.rl_merge_codes else ()


def _in_turn(plan: Stages, recipe: Recipe, model: str, rows: str, held_rows: str, seeded: tuple[object, ...]) -> str:
    """Iterations of search, learning from its traces, and RL, each measured on held-out problems; the last model."""

    def check(number: int, folder: str) -> None:
        plan.add(
            f"check-{number}",
            f"held-out problems {f'after iteration {number}' if number else 'before the first iteration'}",
            *("bench", "countdown", "--model", f"{folder}/model", "--data", held_rows, "--searcher", recipe.searcher),
            *("--arms", "greedy", "--sims", recipe.iterate_sims, "--no-traces", *_how(recipe), *seeded, "--json"),
            partial=True,
        )

    check(0, model)
    for number in range(1, recipe.iterations + 1):
        traces = plan.add(
            f"search-{number}",
            f"iteration {number}: search",
            *("bench", "countdown", "--model", f"{model}/model", "--data", rows, "--searcher", recipe.searcher),
            *("--arms", recipe.searcher, "--sims", recipe.iterate_sims, "--limit", recipe.problems_per_iteration),
            *("--shuffle-seed", recipe.seed * 100 + number, *_how(recipe), *seeded, "--json"),
            partial=True,
        )
        tuned = f"{model}/model"
        if recipe.iterate_guide_epochs:
            labels = ("--data", rows, "--task", "countdown")
            how = ("--tune", "full", "--epochs", recipe.iterate_guide_epochs, "--lr", recipe.iterate_guide_lr)
            tuned = guided_by_search(plan, number, tuned, traces, labels, recipe.iterate_guide_texts, how, seeded)
        policy = plan.add(
            f"policy-{number}",
            f"iteration {number}: the policy learns what the search found",
            *("train", "policy", "--model", tuned, "--traces", traces, "--heldout", 0.1),
            *("--epochs", recipe.iterate_policy_epochs, "--lr", recipe.iterate_policy_lr),
            *("--beta", recipe.iterate_policy_beta, "--targets", recipe.iterate_policy_targets),
            *("--warmup-steps", recipe.rl_warmup_steps, *seeded),
        )
        value = plan.add(
            f"value-{number}",
            f"iteration {number}: the value head learns it too",
            *("train", "value", "--model", f"{policy}/model", "--traces", traces, "--data", rows, "--head", "value"),
            *("--epochs", recipe.value_epochs, "--lr", recipe.value_lr, *seeded),
        )
        model = plan.add(
            f"rl-{number}",
            f"iteration {number}: RL on codes",
            *("train", "rl", "--model", f"{value}/model", "--lr", recipe.iterate_rl_lr, "--heldout", 0),
            *_merged(recipe),
            *_rl_options(recipe, rows, recipe.iterate_rl_rounds),
            *("--seed", recipe.seed * 100 + number, "--threads", recipe.threads),
        )
        check(number, model)
    return model


def final_stage(recipe: Recipe) -> str:
    """Name of the stage that makes the final model."""
    return f"rl-{recipe.iterations}"


def _value(plan: Stages, recipe: Recipe, rl: str, rows: str, seeded: tuple[object, ...]) -> str:
    model = f"{rl}/model"
    search = ("--searcher", recipe.searcher, "--arms", recipe.searcher, "--sims", recipe.trace_sims)
    traces = plan.add(
        "traces",
        "searches for the value head to learn from",
        *("bench", "countdown", "--model", model, "--data", rows, *search, *_how(recipe), *seeded, "--json"),
        partial=True,
    )
    return plan.add(
        "value",
        "the value head, from those searches",
        *("train", "value", "--model", model, "--traces", traces, "--data", rows, "--head", "value"),
        *("--epochs", recipe.value_epochs, "--lr", recipe.value_lr, *seeded),
    )


def _how(recipe: Recipe) -> tuple[object, ...]:
    """How a bench searches, beyond its budget."""
    options = [part for one in recipe.search_options.split(",") if one for part in ("--option", one)]
    below = ("--branch-below", recipe.branch_below) if recipe.branch_below >= 0 else ()
    return (
        *options,
        *below,
        *("--max-step-tokens", recipe.max_step_tokens, "--max-tokens", recipe.max_new_tokens),
        *("--batch-size", recipe.bench_batch),
    )


def _greedy(
    plan: Stages, recipe: Recipe, name: str, about: str, model: tuple[str, ...], seeded: tuple[object, ...]
) -> None:
    """Greedy decoding of one of the models on the way, on the problems that the final model is measured on."""
    greedy = ("--searcher", "greedy", "--arms", "greedy", "--sims", 1, "--limit", recipe.test_problems, "--no-traces")
    plan.add(name, about, "bench", "countdown", *model, *greedy, *_how(recipe), *seeded, "--json", partial=True)


def _search(plan: Stages, recipe: Recipe, value: str, final: str, seeded: tuple[object, ...]) -> None:
    """Search with the RL policy, and with the final model."""
    search = ("--searcher", recipe.searcher, *_how(recipe), *seeded, "--json", "--no-traces")
    plan.add(
        "bench-search",
        "search with the RL policy and the value head",
        *("bench", "countdown", "--model", f"{value}/model", "--sims", recipe.aim_sims),
        *("--limit", recipe.test_problems, *search),
        partial=True,
    )
    for name, about, benchmark, count, sims in (
        (FINAL_BENCH, "the final model on held-out problems", "countdown", recipe.test_problems, recipe.sims),
        (
            HARDER_BENCH,
            "the final model on problems with 5 numbers",
            "countdown-5",
            recipe.harder_problems,
            recipe.harder_sims,
        ),
    ):
        model = ("--model", f"{final}/model", "--sims", listed(sims), "--limit", count)
        plan.add(name, about, "bench", benchmark, *model, *search, partial=True)
