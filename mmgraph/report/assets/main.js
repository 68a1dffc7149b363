// The page: what is asked for (filters, a selection, a focus), and who is told.

const byId = (id) => document.getElementById(id);
const model = makeModel();
const severalRegistries = new Set(model.goals.map((goal) => registryOf(goal.repository))).size > 1;
const state = {
  query: "", actions: new Set(), registry: "", repository: "", platform: "",
  selected: -1, focus: null, folding: makeFolding(), sceneFolding: null,
};

// Filters

function filtered() { return Boolean(state.query || state.actions.size || state.registry || state.repository || state.platform); }

// Terms all have to be in a tag's text; one that can be part of a digest may be anywhere below the tag instead.
function terms() {
  return state.query.toLowerCase().split(/\s+/).filter(Boolean).map((text) => {
    const hex = text.replace(/^sha(256|512):/, "");
    if (!/^[0-9a-f]{6,}$/.test(hex)) return { text, nodes: null };
    const digests = new Set();
    data.digests.forEach((digest, place) => { if (digest.includes(hex)) digests.add(place); });
    const nodes = [];
    for (let v = 0; v < model.planned; v++) if (model.kind[v] !== TAG && digests.has(model.name[v])) nodes.push(v);
    for (const goal of model.goals) if (digests.has(goal.root - 1) || digests.has(goal.old - 1)) nodes.push(goal.node);
    return { text, nodes, above: reach(model.users, nodes) };
  });
}

const TAG_ACTIONS = RESULTS.map((name) => ACTIONS.indexOf(name));

function chosenGoals(wanted) {
  const ofTags = TAG_ACTIONS.filter((which) => state.actions.has(which));
  const others = [...state.actions].filter((which) => !TAG_ACTIONS.includes(which));
  const platform = state.platform && data.texts.indexOf(state.platform);
  return model.goals.filter((goal) =>
    (!state.registry || registryOf(goal.repository) === state.registry)
    && (state.repository === "" || goal.repository === +state.repository)
    && (!ofTags.length || ofTags.includes(goal.action))
    && (!others.length || others.some((which) => goal.actions & (1 << which)))
    && (!platform || goal.platforms.has(platform))
    && wanted.every((term) => goal.text.includes(term.text) || term.above?.has(goal.node)));
}

// Of the chosen tags what fits the filters, and what lies between that and the tags.
function includedNodes(goals, wanted) {
  const included = new Uint8Array(model.count);
  if (state.focus) { for (const v of state.focus.nodes) included[v] = 1; return included; }
  for (const goal of goals) for (const v of goal.nodes) included[v] = 1;
  if (state.platform) keepPlatform(included, data.texts.indexOf(state.platform));
  const others = new Set([...state.actions].filter((which) => !TAG_ACTIONS.includes(which)));
  if (others.size) keepAbove(included, goals, (v) => others.has(model.action[v]));
  for (const { text, nodes } of wanted) {
    if (!nodes?.length || goals.some((goal) => goal.text.includes(text))) continue;
    const found = reach(model.needs, nodes);
    keepAbove(included, goals, (v) => found.has(v));
  }
  return included;
}

function keepPlatform(included, label) {
  const attestation = data.texts.indexOf(`attestation for ${data.texts[label]}`);
  for (let v = model.planned - 1; v >= 0; v--) {
    if (!included[v]) continue;
    if (model.kind[v] === MANIFEST) included[v] = +(model.label[v] === label || (attestation > 0 && model.label[v] === attestation));
    else if (model.kind[v] === BLOB) included[v] = +neighbours(model.users, v).some((user) => included[user]);
  }
}

function keepAbove(included, goals, fits) {
  const kept = new Uint8Array(model.count);
  for (let v = 0; v < model.planned; v++) { // what a node needs comes before it
    kept[v] = +(included[v] && (fits(v) || neighbours(model.needs, v).some((need) => kept[need])));
  }
  for (const goal of goals) kept[goal.node] = 1;
  included.set(kept);
}

// Showing

function update({ anchor = null, keep = false } = {}) {
  const wanted = terms();
  const goals = chosenGoals(wanted);
  if (!keep) list.show(goals);
  const folding = state.focus ? state.focus.folding : state.folding;
  const included = includedNodes(goals, wanted);
  const scene = layOut(makeScene(model, included, folding), view.aspect);
  for (const lane of scene.lanes) describeLane(scene, lane);
  view.show(scene, anchor);
  showSelection();
  const nodes = included.reduce((sum, value) => sum + value, 0);
  const drawn = scene.items.length;
  byId("tags-count").textContent = goals.length === model.goals.length ? grouped(goals.length) : `${grouped(goals.length)} of ${grouped(model.goals.length)}`;
  byId("graph-count").textContent = drawn === nodes ? number(nodes, "node") : `${number(nodes, "node")}, folded into ${grouped(drawn)}`;
  byId("empty").hidden = drawn > 0;
  byId("clear").hidden = !filtered();
  byId("focus").hidden = !state.focus;
  if (state.focus) byId("focus-name").textContent = `Only ${state.focus.name}`;
  for (const button of byId("folds").children) {
    if (button.dataset.level) button.setAttribute("aria-pressed", scene.level === +button.dataset.level);
  }
}

// A lane's title, what is done in it, and the action that stands for it on the map.
function describeLane(scene, lane) {
  lane.title = severalRegistries ? repositoryName(lane.repository) : pathOf(lane.repository);
  if (lane.part && lane.level) lane.title += ` (${lane.chunk + 1})`;
  const sums = { upload: 0, mount: 0 };
  const tags = new Map();
  for (const item of lane.columns.flat()) {
    for (const v of item.nodes) {
      const name = ACTIONS[model.action[v]];
      if (name in sums) sums[name] += model.size[v];
      if (model.kind[v] === TAG) tags.set(name, (tags.get(name) ?? 0) + 1);
    }
  }
  const count = (name) => tags.get(name) && `${SIGNS[name]}${tags.get(name)}`;
  lane.sums = [...RESULTS.map(count), sums.upload && `↑ ${size(sums.upload)}`, sums.mount && `↪ ${size(sums.mount)}`].filter(Boolean).join("  ");
  lane.main = TAG_ACTIONS[RESULTS.findIndex((name) => tags.has(name))] ?? -1;
}

function showSelection() {
  const v = state.selected;
  view.select(v, v < 0 ? state.pile && belonging(state.pile) : belonging([v]));
  list.select(v < 0 ? -1 : model.goalOf[v]);
}

// What nodes need, what needs them, and what they are mounted from.
function belonging(nodes) {
  const found = new Set([...reach(model.needs, nodes), ...reach(model.users, nodes)]);
  for (const v of [...found]) {
    if (model.kind[v] === BLOB) for (const from of neighbours(model.mountedAfter, v)) found.add(from);
  }
  for (const v of nodes) if (model.kind[v] === BLOB) for (const then of neighbours(model.mountedBy, v)) found.add(then);
  return found;
}

// The address names what is chosen, so that it can be passed on.
function address(v) {
  const place = v < 0 ? location.pathname + location.search : `#${encodeURIComponent(fullName(model, v))}`;
  try { history.replaceState(null, "", place); } catch { /* not everywhere may a page from disk do that */ }
}

function selectAddressed() {
  let name = "";
  try { name = decodeURIComponent(location.hash.slice(1)); } catch { /* not an address of ours */ }
  const v = name ? named(name) : -1;
  if (v >= 0 && v !== state.selected) find(v);
}

function named(name) { return model.kind.findIndex((kind, v) => fullName(model, v) === name); }

function select(v, { reveal = true } = {}) {
  state.selected = v;
  state.pile = null;
  address(v);
  if (v < 0) details.hide(); else details.show(v);
  if (v >= 0 && state.focus && view.scene.itemOf[v] < 0) { state.focus = null; update({ keep: true }); }
  showSelection();
  const item = v >= 0 ? view.itemOf(v) : null;
  if (item && reveal) view.reveal(item);
}

function selectItem(item) {
  if (!item) { select(-1); return; }
  if (!item.folded) { select(item.nodes[0], { reveal: false }); return; }
  state.selected = -1;
  state.pile = item.nodes;
  details.pile(item);
  showSelection();
  view.state.selected = view.state.cursor = item;
  view.redraw();
}

// A tag of the list. Where not all can be drawn, only what belongs to it is.
function selectGoal(goal) {
  if (view.scene.level < LEVELS.length - 1 || state.focus) focus([goal.node], goal.place + goal.name, goal.node);
  else select(goal.node);
}

function focus(nodes, name, selected = -1) {
  if (!state.focus) state.before = view.camera;
  state.focus = { nodes: belonging(nodes), name, folding: makeFolding() };
  if (selected < 0 && nodes.length === 1) [selected] = nodes;
  state.selected = selected;
  state.pile = null;
  address(selected);
  if (selected < 0) details.hide(); else details.show(selected);
  update({ keep: true });
}

function unfocus() {
  state.focus = null;
  update({ keep: true });
  if (state.before) view.move(state.before, false);
}

function unfold(item) {
  const folding = state.focus ? state.focus.folding : state.folding;
  if (folding.level === null) folding.level = view.scene.level;
  if (item.level === 0) openRepository(folding, item.repository);
  else for (const v of item.nodes) folding.open.add(v);
  if (!item.nodes.includes(state.selected)) { state.selected = -1; details.hide(); }
  state.pile = null;
  update({ anchor: item.level === 0 ? { repository: item.repository } : { node: item.nodes[0] }, keep: true });
  view.canvas.focus({ preventScroll: true });
}

function openRepository(folding, repository) {
  let blobs = 0;
  for (let v = 0; v < model.planned; v++) if (model.repository[v] === repository && view.scene.included[v]) blobs++;
  folding.repositories.set(repository, blobs <= MANY ? LEVELS.length - 1 : blobs <= 4 * MANY ? 2 : 1);
}

function toggleLane(lane) {
  const folding = state.focus ? state.focus.folding : state.folding;
  if (folding.level === null) folding.level = view.scene.level;
  if (lane.level) folding.repositories.set(lane.repository, 0);
  else openRepository(folding, lane.repository);
  update({ anchor: { repository: lane.repository }, keep: true });
}

function setLevel(level) {
  const folding = state.focus ? state.focus.folding : state.folding;
  folding.level = level;
  folding.repositories.clear();
  folding.open.clear();
  update({ keep: true });
}

// The parts of the page

const view = new View(model, {
  canvas: byId("canvas"), map: byId("map"), tip: byId("tip"), box: byId("scene"), probe: document.body.appendChild(make("i", { class: "unseen", "aria-hidden": "true" })),
  onSelect: selectItem, onUnfold: unfold, onLane: toggleLane,
  onFocus: (item) => focus(item.nodes, describe(model, item), item.folded ? -1 : item.nodes[0]),
  onSpeak: (text) => { byId("spoken").textContent = text; },
});
const list = new List({
  rows: byId("rows"), table: byId("tags"), headings: byId("headings"), body: byId("body"), none: byId("none"),
  single: !severalRegistries, onSelect: selectGoal,
});
const details = new Details(model, {
  panel: byId("details"), onSelect: (v) => select(v), onUnfold: unfold, onClose: () => { select(-1); byId("tags").focus({ preventScroll: true }); },
  onFocus: (nodes, name) => focus(nodes, name),
});

function showBill() {
  const { bill } = data;
  const shares = [["present", "already there"], ["mounted", "mounted"], ["shared", "shared"], ["uploaded", "uploaded"]];
  const bar = make("div", { class: "bar", role: "img", "aria-label": `Of ${size(bill.naive)}: ${shares.map(([name, words]) => `${size(bill[name])} ${words}`).join(", ")}` });
  for (const [name] of shares) {
    if (!bill[name]) continue;
    const part = make("span", { class: name, title: `${name}: ${size(bill[name])}` });
    part.style.flexGrow = bill[name];
    bar.append(part);
  }
  const whole = percents(shares.map(([name]) => bill[name]));
  const told = Object.fromEntries(shares.map(([name], place) => [name, bill.naive ? ` ${whole[place]} %` : ""]));
  told.saved = ` ${percent(bill.saved, bill.missing)} % of what is missing`;
  const entry = (name, hint, key = name) => make("div", { class: `entry ${key}`, title: hint }, make("dt", {}, name), make("dd", {}, size(bill[key]), make("small", {}, told[key] ?? "")));
  byId("bill").append(bar, make("dl", { class: "entries" },
    entry("one by one", "What the specs would cost one by one, into empty places", "naive"),
    entry("present", "The repositories have it already"),
    entry("mounted", "Comes from another repository of the registry, without its bytes"),
    entry("shared", "An earlier spec of the set puts it in that repository already"),
    entry("uploaded", "Bytes that are sent"),
    entry("downloaded", "Bytes read from sources, each digest once"),
    entry("saved", "Mounted and shared: what deduplication spares")));
  const counted = (result) => model.goals.filter((goal) => goal.result === result).length;
  const outcomes = [["create", "to copy"], ["move", "to move"], ...(counted("repair") ? [["repair", "to repair"]] : []), ["unchanged", "unchanged"], ["failed", "failed"]];
  byId("outcome").append(...outcomes.map(([result, words]) =>
    make("span", { class: counted(result) ? result : "zero" }, sign(result), `${grouped(counted(result))} ${words}`)));
}

// What to know before: each a summary that opens.
function notice(id, title, first, ...content) {
  byId("notices").append(make("details", { class: `notice${id === "failures" || id === "broken" ? " failures" : ""}`, id },
    make("summary", {}, ...title, first && make("small", {}, first)), ...content));
}

function showNotices() {
  for (const registry of data.unchecked) {
    byId("notices").append(make("p", { class: "notice failures" }, sign("failed"), `The certificate of ${registry} is not checked (--insecure).`));
  }
  if (data.offline.length) {
    byId("notices").append(make("div", { class: "notice", id: "offline" }, ...data.offline.map((line) => make("p", {}, line))));
  }
  if (data.broken.length) {
    notice("broken", [sign("failed"), data.brokenTitle], data.texts[data.broken[0][3]], make("ul", {}, ...data.broken.map(([goal, node, destination, cause]) => {
      const v = node ? node - 1 : goal ? model.goals[goal - 1].node : -1;
      const name = data.texts[destination];
      return make("li", {}, v < 0 ? name : make("button", { type: "button", class: "plain", onclick: () => find(v) }, name), make("p", { class: "cause" }, data.texts[cause]));
    })));
  }
  const failed = model.goals.filter((goal) => goal.result === "failed");
  const causes = new Map();
  for (const goal of failed) causes.set(goal.cause, [...(causes.get(goal.cause) ?? []), goal]);
  if (failed.length) {
    notice("failures", [sign("failed"), `${number(failed.length, "spec")} cannot be planned`], failed[0].cause, make("ul", {}, ...[...causes].map(([cause, goals]) =>
      make("li", {}, make("p", { class: "cause" }, cause || "no cause was given"),
        make("ul", {}, ...goals.map((goal) => make("li", {}, `${goal.from} → `, make("button", { type: "button", class: "plain", onclick: () => find(goal.node) }, goal.place + goal.name))))))));
  }
  if (data.toCreate.length) {
    notice("to-create", [number(data.toCreate.length, "repository", "repositories"), " to create"], repositoryName(data.toCreate[0]),
      make("ul", {}, ...data.toCreate.map((place) => make("li", {}, make("code", {}, repositoryName(place))))));
  }
  const sum = (counts) => counts.reduce((total, [, count]) => total + count, 0);
  if (data.requests.length) {
    const rows = data.requests.map(([registry, counts]) => make("tr", {}, make("th", { scope: "row" }, registry), make("td", { class: "number" }, grouped(sum(counts))),
      make("td", {}, counts.map(([name, count]) => `${grouped(count)} ${name}`).join(", "))));
    notice("requests", [`${number(sum(data.requests.flatMap(([, counts]) => counts)), "request")} at ${number(data.requests.length, "registry", "registries")}`], "", make("table", {}, make("tbody", {}, ...rows)));
  }
}

// Goes to a node wherever it is: filters that hide it are taken back.
function find(v) {
  if (view.scene.itemOf[v] < 0) clearFilters();
  if (model.goalOf[v] >= 0) selectGoal(model.goals[model.goalOf[v]]); else select(v);
}

function showFilters() {
  for (const which of [...TAG_ACTIONS, action.upload, action.mount, action.put, action.present]) {
    const name = ACTIONS[which];
    const count = model.action.reduce((sum, value) => sum + (value === which), 0);
    if (name === "repair" && !count) continue; // asked for by name, so that most sets have none
    const chip = make("button", { type: "button", class: `chip ${name}`, "aria-pressed": "false", "data-action": name, title: MEANS[name], disabled: !count }, sign(name), name, make("small", {}, grouped(count)));
    chip.addEventListener("click", () => {
      if (!state.actions.delete(which)) state.actions.add(which);
      changeFilters();
    });
    byId("chips").append(chip);
  }
  const fill = (id, all, options) => {
    byId(id).append(make("option", { value: "" }, all), ...options.map(([value, text]) => make("option", { value }, text)));
    byId(id).addEventListener("change", (event) => { state[id] = event.target.value; changeFilters(); });
  };
  const registries = [...new Set(model.goals.map((goal) => registryOf(goal.repository)))].sort();
  fill("registry", "All registries", registries.map((name) => [name, name]));
  byId("registry").parentElement.hidden = registries.length < 2;
  const repositories = [...new Set(model.goals.map((goal) => goal.repository))];
  const named = repositories.map((place) => [place, registries.length > 1 ? repositoryName(place) : pathOf(place)]);
  fill("repository", number(repositories.length, "repository", "repositories"), named.sort((a, b) => collator.compare(a[1], b[1])));
  const platforms = new Set();
  for (let v = 0; v < model.planned; v++) if (model.label[v] && model.kind[v] === MANIFEST) platforms.add(data.texts[model.label[v]]);
  const images = [...platforms].filter((label) => !label.startsWith("attestation")).sort();
  fill("platform", "All platforms", images.map((label) => [label, label]));
  byId("platform").parentElement.hidden = images.length < 1;
  let waiting = 0;
  byId("search").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.query = event.target.value; changeFilters(); }, 120);
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", clearFilters);
  byId("folds").append(...LEVELS.map((name, level) => make("button", { type: "button", "data-level": level, "aria-pressed": "false", title: `Draw each of the ${name} by itself`, onclick: () => setLevel(level) }, name)));
  byId("zoom-in").addEventListener("click", () => view.zoom(1.3));
  byId("zoom-out").addEventListener("click", () => view.zoom(1 / 1.3));
  byId("fit").addEventListener("click", () => view.overview());
  byId("unfocus").addEventListener("click", unfocus);
}

function changeFilters() {
  for (const chip of byId("chips").children) chip.setAttribute("aria-pressed", state.actions.has(ACTIONS.indexOf(chip.dataset.action)));
  state.focus = null;
  state.folding = makeFolding();
  update();
}

function clearFilters() {
  Object.assign(state, { query: "", registry: "", repository: "", platform: "" });
  state.actions.clear();
  for (const id of ["search", "registry", "repository", "platform"]) byId(id).value = "";
  changeFilters();
}

// Keys, and light and dark

const HELP = [
  ["/", "search"], ["Esc", "clear the search, the selection, the focus, then the filters"], ["T, G", "to the tags, to the graph"], ["↑ ↓", "from tag to tag, or from node to node within a stratum"],
  ["← →", "in the graph: to what a node needs, to what needs it"], ["Enter", "details"], ["O", "unfold a pile; so does a double click, and a click on a repository's name for all of it"], ["F", "show only what belongs to a node"], ["+ − 0", "zoom in, out, all of it"], ["Shift + arrows", "move the graph"], ["?", "these keys"],
];
const READING = "Lines run from what must be there first to what needs it; dashed ones from where a blob lands to where it is mounted. "
  + "A node's sign and line say what is done about it, its shape what it is; several that are drawn as one lie on a pile.";

function escape() {
  const search = byId("search");
  if (!byId("help").hidden) toggleHelp();
  else if (document.activeElement === search && search.value) { search.value = state.query = ""; changeFilters(); }
  else if (state.selected >= 0 && !state.focus || state.pile) select(-1);
  else if (state.focus) { state.selected = -1; details.hide(); unfocus(); }
  else if (filtered()) clearFilters();
  else search.blur();
}

function toggleHelp() {
  byId("help").hidden = !byId("help").hidden;
  byId("help-button").setAttribute("aria-expanded", !byId("help").hidden);
}

function listenForKeys() {
  byId("help").append(make("dl", {}, ...HELP.flatMap(([key, words]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, words)])), make("p", {}, READING));
  byId("help-button").addEventListener("click", toggleHelp);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { escape(); event.preventDefault(); return; }
    if (event.target.matches("input, select, textarea")) {
      if (event.key === "ArrowDown" && event.target.id === "search" || event.key === "Enter" && event.target.id === "search") { byId("tags").focus({ preventScroll: true }); event.preventDefault(); }
      return;
    }
    const to = { "/": "search", t: "tags", g: "canvas" }[event.key];
    if (to) { byId(to).focus(); if (to === "search") byId(to).select(); event.preventDefault(); }
    else if (event.key === "?") toggleHelp();
    else if (event.key === "f" && state.selected >= 0 && event.target.id !== "canvas") focus([state.selected], fullName(model, state.selected));
  });
}

const THEMES = ["system", "light", "dark"];

function setTheme(name) {
  if (name === "system") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
  byId("theme").textContent = `Theme: ${name}`;
  try { localStorage.setItem("mmgraph-theme", name); } catch { /* pages from disk may have no storage */ }
  view.repaint();
}

function listenForTheme() {
  let name = "system";
  try { name = localStorage.getItem("mmgraph-theme") ?? name; } catch { /* pages from disk may have no storage */ }
  setTheme(THEMES.includes(name) ? name : "system");
  byId("theme").addEventListener("click", () => {
    const now = document.documentElement.dataset.theme ?? "system";
    setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => view.repaint());
}

addEventListener("beforeprint", () => { for (const each of document.querySelectorAll(".notice:not([open])")) { each.open = true; each.dataset.printed = ""; } });
addEventListener("afterprint", () => { for (const each of document.querySelectorAll("[data-printed]")) { each.open = false; delete each.dataset.printed; } });

showBill();
showNotices();
showFilters();
listenForKeys();
listenForTheme();
update();
selectAddressed();
addEventListener("hashchange", selectAddressed);
// For tests, and for whoever likes to ask the page something.
globalThis.mmgraph = Object.freeze({
  model, state, view, list, data, select, size,
  aloneBytes: (v) => aloneBytes(model, v),
  find: named,
});
document.documentElement.dataset.ready = "yes";
