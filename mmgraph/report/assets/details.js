// What there is to say of one node, or of a pile of them.

const NAMED = 12; // neighbours that are listed by name

class Details {
  constructor(model, { panel, onSelect, onFocus, onClose, onUnfold }) {
    Object.assign(this, { model, panel, onSelect, onFocus, onClose, onUnfold });
  }

  hide() { this.panel.hidden = true; this.panel.replaceChildren(); }

  // What was there may have had the focus; it is not to fall back to the beginning of the page.
  fill(...content) {
    const focused = this.panel.contains(document.activeElement);
    this.panel.replaceChildren(...content);
    this.panel.hidden = false;
    this.panel.scrollTop = 0;
    if (focused) this.panel.focus({ preventScroll: true });
  }

  show(v) {
    const { model } = this;
    const goal = model.kind[v] === TAG || model.goalOf[v] >= 0 ? model.goals[model.goalOf[v]] : undefined;
    const what = ACTIONS[model.action[v]];
    const label = data.texts[model.label[v]];
    const title = model.kind[v] === TAG ? shortName(model, v) : label || shortDigest(model.name[v]);
    this.fill(
      this.head(KINDS[model.kind[v]], title, what),
      this.facts(v, goal, what),
      make("div", { class: "buttons" }, make("button", { type: "button", id: "focus-button", onclick: () => this.onFocus([v], `${KINDS[model.kind[v]]} ${title}`) }, "Show only what belongs to it"), " ", make("kbd", {}, "F")),
      make("div", { class: "around" }, ...this.neighbourhood(v)));
  }

  head(kind, title, what) {
    return make("div", { class: "details-head" },
      make("p", { class: "kind" }, kind, what ? make("span", { class: `badge ${what}` }, sign(what), what) : null),
      make("h2", {}, title),
      make("button", { type: "button", class: "close", "aria-label": "Close details", title: "Close (Esc)", onclick: () => this.onClose() }, "×"));
  }

  facts(v, goal, what) {
    const { model } = this;
    const list = make("dl", {});
    const fact = (name, ...values) => { if (values.some((value) => value)) list.append(make("dt", {}, name), make("dd", {}, ...values)); };
    const digest = (place) => place > 0 && copyable(digestName(place - 1));
    fact("why", make("span", { id: "reason" }, data.texts[model.reason[v]] || MEANS[what]));
    fact("repository", copyable(repositoryName(model.repository[v])));
    if (model.kind[v] === TAG) fact(what === "unchanged" ? "names" : "shall name", digest(goal?.root || model.target[v]));
    else fact("digest", digest(model.name[v] + 1));
    if (model.old[v] && model.old[v] !== model.target[v]) fact("names now", digest(model.old[v]));
    if (model.kind[v] !== TAG) fact("size", exactly(model.size[v]));
    if (model.label[v]) fact("platform", data.texts[model.label[v]]);
    if (goal) this.goalFacts(goal, fact);
    if (model.source[v]) fact("read from", repositoryName(model.source[v] - 1));
    if (model.mountFrom[v] >= 0) fact("mounted from", repositoryName(model.mountFrom[v]));
    if (v < model.planned) fact("costs alone", make("span", { id: "alone" }, exactly(aloneBytes(model, v))), make("small", {}, " would not move without it and the tags that need it"));
    return list;
  }

  goalFacts(goal, fact) {
    fact("from", copyable(goal.from));
    if (goal.read && goal.result !== "failed") fact("image", exactly(goal.size));
    if (goal.moved) fact("moves", exactly(goal.moved), make("small", {}, ` of it ${size(goal.moved - goal.alone)} for others as well`));
    if (goal.missing.length) fact("lacks", make("span", { class: "failed-text" }, `! ${goal.missing.join(", ")}`));
    for (const cause of goal.broken) fact("breaks", make("span", { class: "failed-text" }, `! ${cause}`));
    if (goal.gains.length) fact("gains", goal.gains.map((each) => `+${each}`).join(", "));
    if (goal.losses.length) fact("loses", make("span", { class: "failed-text" }, goal.losses.map((each) => `-${each}`).join(", ")));
    if (goal.limits.length) fact("limited to", goal.limits.join(", "), make("small", {}, " so its digest differs from the source's"));
  }

  neighbourhood(v) {
    const { model } = this;
    const tags = goalsThatNeed(model, v).filter((goal) => goal.node !== v);
    const parts = [];
    if (model.kind[v] !== TAG) {
      const title = tags.length ? `Needed by ${number(tags.length, "tag")}, which would be blocked if it failed` : "Needed by no tag";
      parts.push(this.group(title, tags.map((goal) => goal.node), "needed-by"));
    }
    const users = [...neighbours(model.users, v)].filter((user) => model.kind[user] !== TAG);
    parts.push(this.group("Listed by", users));
    parts.push(this.group("Mounted from where it lands", [...neighbours(model.mountedAfter, v)]));
    parts.push(this.group("Mounted from here", [...neighbours(model.mountedBy, v)]));
    const needs = [...reach(model.needs, [v])].filter((each) => each !== v);
    for (const kind of [INDEX, MANIFEST, BLOB]) {
      const nodes = needs.filter((each) => model.kind[each] === kind);
      const total = nodes.reduce((sum, each) => sum + model.size[each], 0);
      if (kind === BLOB) nodes.sort((a, b) => model.size[b] - model.size[a]);
      parts.push(this.group(`Needs ${plural(kind, nodes.length)}, ${size(total)}`, nodes));
    }
    return parts;
  }

  pile(item) {
    const { model } = this;
    const lines = [...item.actions.keys()].map((which) => {
      const nodes = item.nodes.filter((v) => model.action[v] === which);
      const total = item.kind === TAG ? "" : `, ${size(nodes.reduce((sum, v) => sum + model.size[v], 0))}`;
      return make("p", {}, make("span", { class: `badge ${ACTIONS[which]}` }, sign(ACTIONS[which]), ACTIONS[which]), ` ${grouped(nodes.length)}${total}`);
    });
    const sorted = item.kind === BLOB ? [...item.nodes].sort((a, b) => model.size[b] - model.size[a]) : item.nodes;
    this.fill(
      this.head("folded", item.kind === TAG ? plural(TAG, item.nodes.length) : `${plural(item.kind, item.nodes.length)}, ${size(item.size)}`, ""),
      make("p", { class: "place" }, repositoryName(item.repository)),
      ...lines,
      make("div", { class: "buttons" }, make("button", { type: "button", id: "unfold-button", onclick: () => this.onUnfold(item) }, "Unfold"), " ", make("kbd", {}, "O"),
        " ", make("button", { type: "button", onclick: () => this.onFocus(item.nodes, plural(item.kind, item.nodes.length)) }, "Show only these"), " ", make("kbd", {}, "F")),
      this.group("In it", sorted));
  }

  group(title, nodes, id = null) {
    if (!nodes.length && !id) return "";
    const list = make("ul", { id });
    const more = (from) => {
      list.append(...nodes.slice(from, from + (from ? 200 : NAMED)).map((v) => make("li", {}, this.link(v))));
      const left = nodes.length - list.children.length;
      if (left > 0) {
        const button = make("button", { type: "button", class: "more", onclick: () => { last.remove(); more(nodes.length - left); } }, `and ${grouped(left)} more`);
        const last = make("li", {}, button);
        list.append(last);
      }
    };
    more(0);
    return make("section", {}, make("h3", {}, title), list);
  }

  link(v) {
    const { model } = this;
    const label = data.texts[model.label[v]];
    const what = ACTIONS[model.action[v]];
    const name = model.kind[v] === TAG ? fullName(model, v) : label || shortDigest(model.name[v]);
    const more = model.kind[v] === TAG ? "" : model.kind[v] === BLOB ? size(model.size[v]) : KINDS[model.kind[v]];
    return make("button", { type: "button", class: "link", title: `${what}: ${fullName(model, v)}`, onclick: () => this.onSelect(v) },
      make("span", { class: `sign ${what}` }, SIGNS[what]), make("span", { class: "link-name" }, name), make("small", {}, more));
  }
}

function exactly(count) { return count < 1024 ? size(count) : `${size(count)} (${grouped(count)} B)`; }

function copyable(text) {
  const button = make("button", { type: "button", class: "copy", "aria-label": `Copy ${text}` }, "copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copied(text)) ? "copied" : "failed";
    setTimeout(() => { button.textContent = "copy"; }, 1200);
  });
  return make("span", { class: "copyable" }, make("code", {}, text), " ", button);
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // not everywhere is a page from disk given the clipboard
    const field = make("textarea", { class: "unseen" });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
