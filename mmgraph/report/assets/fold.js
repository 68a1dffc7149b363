// What is drawn as one: nodes that are included become items, by how far their repository is unfolded.

const LEVELS = ["repositories", "images", "manifests", "blobs"];
const MANY = 300; // items above which more is folded
const CHUNK = 40; // tags of one repository that are drawn in one lane

// Folding as it stands: a level for all, levels of single repositories, nodes that were unfolded one by one.
function makeFolding() { return { level: null, repositories: new Map(), open: new Set() }; }

// A scene of the included nodes. Without a level the finest one that is not too many items is taken.
function makeScene(model, included, folding) {
  if (folding.level !== null) return fold(model, included, folding, folding.level);
  for (let level = LEVELS.length - 1; level > 0; level--) {
    const scene = fold(model, included, folding, level, MANY);
    if (scene) return scene;
  }
  return fold(model, included, folding, 0);
}

function fold(model, included, folding, level, limit = Infinity) {
  const chunk = chunks(model, included);
  const itemOf = new Int32Array(model.count).fill(-1);
  const items = [];
  const groups = new Map();
  const openLevel = (v) => folding.repositories.get(model.repository[v]) ?? level;
  const parents = (v) => {
    const found = new Set();
    for (const user of neighbours(model.users, v)) if (included[user]) found.add(itemOf[user]);
    return found;
  };
  for (let v = model.count - 1; v >= 0; v--) { // what needs v comes after v
    if (!included[v]) continue;
    const key = groupKey(model, v, openLevel(v), folding, parents, chunk[v]);
    let place = key === null ? undefined : groups.get(key);
    if (place === undefined) {
      place = items.length;
      if (place >= limit) return null;
      items.push({ kind: model.kind[v], repository: model.repository[v], chunk: chunk[v], level: openLevel(v), nodes: [], key });
      if (key !== null) groups.set(key, place);
    }
    items[place].nodes.push(v);
    itemOf[v] = place;
  }
  for (const item of items) finish(model, item);
  return { model, included, items, itemOf, level, ...links(model, included, itemOf, items) };
}

function groupKey(model, v, level, folding, parents, chunk) {
  const kind = model.kind[v];
  if (level === 0) return `${model.repository[v]} ${kind}`;
  if (kind === TAG || kind === INDEX || folding.open.has(v)) return null;
  if (level > (kind === BLOB ? 2 : 1)) return null;
  const above = [...parents(v)].sort((a, b) => a - b);
  if (kind === MANIFEST && !above.length) return null;
  if (kind === MANIFEST && neighbours(model.users, v).some((user) => model.kind[user] === TAG)) return null;
  const attests = kind === MANIFEST && data.texts[model.label[v]].startsWith("attestation");
  return `${kind} ${model.action[v]} ${attests} ${chunk} ${above}`;
}

function finish(model, item) {
  item.nodes.reverse();
  item.size = 0;
  item.actions = new Map();
  for (const v of item.nodes) {
    item.size += model.size[v];
    const weight = item.kind === BLOB ? model.size[v] : 1;
    item.actions.set(model.action[v], (item.actions.get(model.action[v]) ?? 0) + weight);
  }
  item.action = item.actions.size === 1 ? model.action[item.nodes[0]] : -1;
  item.folded = item.nodes.length > 1;
}

// The tags of a large repository are drawn in several lanes; the rest is where it is needed first.
function chunks(model, included) {
  const chunk = new Int32Array(model.count).fill(-1);
  const seen = new Map();
  for (const goal of model.goals) {
    if (!included[goal.node] || chunk[goal.node] >= 0) continue;
    const before = seen.get(goal.repository) ?? 0;
    seen.set(goal.repository, before + 1);
    chunk[goal.node] = Math.floor(before / CHUNK);
  }
  for (let v = model.count - 1; v >= 0; v--) {
    if (!included[v]) continue;
    for (const user of neighbours(model.users, v)) {
      if (included[user] && (chunk[v] < 0 || chunk[user] < chunk[v])) chunk[v] = chunk[user];
    }
    if (chunk[v] < 0) chunk[v] = 0;
  }
  return chunk;
}

// Edges between items, each once, as flat arrays: needs from what is needed, mounts from where it is mounted.
function links(model, included, itemOf, items) {
  const needs = new Map(), mounts = new Map();
  const join = (found, first, then) => {
    if (first < 0 || then < 0 || first === then) return;
    const key = first * items.length + then;
    found.set(key, (found.get(key) ?? 0) + 1);
  };
  for (let v = 0; v < model.planned; v++) {
    if (!included[v]) continue;
    for (const first of neighbours(model.needs, v)) if (included[first]) join(needs, itemOf[first], itemOf[v]);
  }
  for (let i = 0; i < model.mountPairs.length; i += 2) {
    join(mounts, itemOf[model.mountPairs[i]], itemOf[model.mountPairs[i + 1]]);
  }
  const unpacked = (found) => Int32Array.from([...found.keys()].flatMap((key) => [Math.floor(key / items.length), key % items.length]));
  const needPairs = unpacked(needs), mountPairs = unpacked(mounts);
  return {
    needPairs, mountPairs,
    users: flat(needPairs, items.length), needs: flat(swapped(needPairs), items.length),
  };
}
