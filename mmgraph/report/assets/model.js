// The plan as the page holds it: nodes as numbers, edges as flat arrays, and what can be reckoned from them.

const data = JSON.parse(document.getElementById("data").textContent);

const BLOB = 0, MANIFEST = 1, INDEX = 2, TAG = 3;
const FAILED = data.actions.length; // beside the actions: a spec that cannot be planned
const ACTIONS = [...data.actions, "failed"];
const RESULTS = ["failed", "move", "repair", "create", "unchanged"]; // what needs looking at most, first
const KINDS = data.kinds;
const action = Object.fromEntries(ACTIONS.map((name, number) => [name, number]));

function makeModel() {
  const planned = data.kind.length;
  const failures = data.goals.filter((goal) => data.results[goal[0]] === "failed").length;
  const count = planned + failures; // a failed spec has a node after all others, so that it can be seen
  const model = {
    count, planned,
    kind: new Uint8Array(count).fill(TAG),
    action: new Uint8Array(count).fill(FAILED),
    repository: new Int32Array(count),
    name: new Int32Array(count),
    reason: new Int32Array(count),
    size: new Float64Array(count),
    source: new Int32Array(count),
    target: new Int32Array(count),
    old: new Int32Array(count),
    label: new Int32Array(count),
    mountFrom: new Int32Array(count).fill(-1),
    goalOf: new Int32Array(count).fill(-1),
  };
  let targets = 0;
  for (let v = 0; v < planned; v++) {
    model.kind[v] = +data.kind[v];
    model.action[v] = +data.action[v];
    if (model.kind[v] === TAG) model.target[v] = data.target[targets++];
  }
  for (const column of ["repository", "name", "reason", "size", "source"]) model[column].set(data[column]);
  for (const column of ["mountFrom", "old", "label"]) {
    for (let i = 0; i < data[column].length; i += 2) model[column][data[column][i]] = data[column][i + 1];
  }
  addEdges(model);
  addGoals(model);
  return model;
}

// Neighbours of v are list[start[v] … start[v + 1] - 1].
function flat(pairs, count) {
  const start = new Int32Array(count + 1);
  for (let i = 0; i < pairs.length; i += 2) start[pairs[i] + 1]++;
  for (let v = 0; v < count; v++) start[v + 1] += start[v];
  const next = start.slice();
  const list = new Int32Array(pairs.length / 2);
  for (let i = 0; i < pairs.length; i += 2) list[next[pairs[i]]++] = pairs[i + 1];
  return { start, list };
}

function swapped(pairs) {
  const turned = new Int32Array(pairs.length);
  for (let i = 0; i < pairs.length; i += 2) { turned[i] = pairs[i + 1]; turned[i + 1] = pairs[i]; }
  return turned;
}

function addEdges(model) {
  const needs = [];
  for (let v = 0, i = 0; v < model.planned; v++) {
    for (let n = data.needs[i++]; n > 0; n--) needs.push(v, v - data.needs[i++]);
  }
  model.needs = flat(needs, model.count); // what v needs
  model.users = flat(swapped(needs), model.count); // what needs v
  model.mountPairs = data.mounts;
  model.mountedAfter = flat(swapped(data.mounts), model.count); // what v is mounted from
  model.mountedBy = flat(data.mounts, model.count);
}

function neighbours(edges, v) { return edges.list.subarray(edges.start[v], edges.start[v + 1]); }

// All that can be reached from the nodes, these included.
function reach(edges, nodes) {
  const seen = new Set(nodes);
  for (const v of seen) for (const other of neighbours(edges, v)) seen.add(other);
  return seen;
}

function reference([repository, tag, digest]) {
  const text = data.texts[tag];
  return (text ? `:${text}` : "") + (digest ? `@${text ? digestName(digest - 1) : shortDigest(digest - 1)}` : "");
}

function addGoals(model) {
  let failed = model.planned;
  model.goals = data.goals.map((row, number) => {
    const [result, node, destination, source, root, old, sourceDigest, moved, alone, cause, missing, gains, losses, limits] = row;
    const texts = (places) => places.map((place) => data.texts[place]);
    const goal = {
      number, node: node - 1, destination, source, root, old, sourceDigest, moved, alone,
      repository: destination[0], result: data.results[result], cause: data.texts[cause],
      missing: texts(missing), gains: texts(gains), losses: texts(losses), limits: texts(limits),
    };
    if (goal.result === "failed") {
      goal.node = failed++;
      model.repository[goal.node] = goal.repository;
      model.name[goal.node] = destination[1];
      model.reason[goal.node] = cause;
    }
    goal.action = ACTIONS.indexOf(goal.result);
    goal.place = repositoryName(goal.repository);
    goal.name = reference(destination);
    goal.from = repositoryName(source[0]) + reference(source);
    return goal;
  });
  for (const goal of model.goals) goal.broken = [];
  for (const [goal, , , cause] of data.broken) if (goal) model.goals[goal - 1].broken.push(data.texts[cause]);
  for (const goal of model.goals) {
    if (model.goalOf[goal.node] < 0) model.goalOf[goal.node] = goal.number;
    readClosure(model, goal);
  }
  addUploads(model);
}

// What a goal consists of, and what filters ask of it.
function readClosure(model, goal) {
  goal.nodes = Int32Array.from(reach(model.needs, [goal.node]));
  goal.actions = 1 << goal.action;
  goal.size = 0;
  const platforms = new Set();
  for (const v of goal.nodes) {
    goal.actions |= 1 << model.action[v];
    if (model.kind[v] === BLOB) goal.size += model.size[v];
    if (model.label[v]) platforms.add(model.label[v]);
  }
  goal.platforms = platforms;
  goal.read = goal.nodes.length > 1 || model.kind[goal.node] !== TAG;
  goal.text = [
    goal.place + goal.name, goal.from, goal.result, goal.cause, data.texts[model.reason[goal.node]],
    ...[...platforms].map((label) => data.texts[label]), ...goal.missing.map((label) => `lacks ${label}`), ...goal.broken,
  ].join(" ").toLowerCase();
}

// Who needs which upload: a blob's bytes move once to a registry.
function addUploads(model) {
  const keys = new Map();
  const keyOf = (v) => `${data.repositories[model.repository[v]][0]} ${model.name[v]}`;
  for (let v = 0; v < model.planned; v++) {
    if (model.action[v] === action.upload) {
      if (!keys.has(keyOf(v))) keys.set(keyOf(v), keys.size);
    }
  }
  model.uploadOf = new Int32Array(model.count).fill(-1);
  model.uploadSize = new Float64Array(keys.size);
  for (let v = 0; v < model.planned; v++) {
    const done = model.action[v] === action.present || model.action[v] === action.unchanged;
    if (model.kind[v] === BLOB && !done) {
      const upload = keys.get(keyOf(v)) ?? -1;
      model.uploadOf[v] = upload;
      if (model.action[v] === action.upload) model.uploadSize[upload] = model.size[v];
    }
  }
  model.uploadGoals = new Int32Array(keys.size);
  for (const goal of model.goals) {
    goal.uploads = new Set();
    if (goal.result === "failed") continue;
    for (const v of goal.nodes) if (model.uploadOf[v] >= 0) goal.uploads.add(model.uploadOf[v]);
    for (const upload of goal.uploads) model.uploadGoals[upload]++;
  }
}

// The bytes that would not move if the node and every tag that needs it were dropped (mmgraph/cost.py).
function aloneBytes(model, v) {
  const dropped = reach(model.users, [v]);
  const gone = new Map();
  for (const goal of model.goals) {
    if (!dropped.has(goal.node)) continue;
    for (const upload of goal.uploads) gone.set(upload, (gone.get(upload) ?? 0) + 1);
  }
  let sum = 0;
  for (const [upload, times] of gone) if (times === model.uploadGoals[upload]) sum += model.uploadSize[upload];
  return sum;
}

function goalsThatNeed(model, v) {
  const above = reach(model.users, [v]);
  return model.goals.filter((goal) => above.has(goal.node));
}
