// Which part is shown is in the address: "#" the run, "#p=3&u=gumbel-64&n=17" node 17 of an arm's tree for problem 3, and
// "&v=puct-64" another arm's tree beside it.

const home = document.getElementById("home"), detail = document.getElementById("problem");
let scrolled = 0;

function remember(index, unit, node, second) {
  try { history.replaceState(null, "", address(index, unit, node, second)); } catch { /* some viewers forbid it; the page works without */ }
}

async function route() {
  const given = new URLSearchParams(location.hash.slice(1));
  const index = given.has("p") ? Number(given.get("p")) : data.kind === "trace" ? 0 : -1;
  hideTip();
  if (!Number.isInteger(index) || !data.problems[index]) {
    leaveProblem();
    detail.hidden = true;
    detail.replaceChildren();
    home.hidden = false;
    window.scrollTo(0, scrolled);
    return;
  }
  if (!home.hidden) scrolled = window.scrollY;
  const fresh = detail.hidden;
  if (!await showProblem(detail, index, given.get("u"), given.has("n") ? Number(given.get("n")) : null, given.get("v"), remember)) return;
  home.hidden = true;
  detail.hidden = false;
  if (fresh) window.scrollTo(0, 0);
}

if (data.kind === "run") {
  const problems = problemList();
  home.append(overview(() => problems.apply()), problems);
} else if (data.kind === "experiment") {
  home.append(experiment());
}
window.addEventListener("hashchange", route);
route().then(() => { document.documentElement.dataset.ready = "yes"; });
