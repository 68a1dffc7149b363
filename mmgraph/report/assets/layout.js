// Where items stand: a lane for each repository, in it a column for each stratum, the lanes in columns of the sheet.
// The same scene has the same layout; all of it takes n log n steps.

const ROW = 28, HEIGHT = 22, GAP = 54, PAD = 14, TITLE = 30, LANE_GAP = 16, SHEET_GAP = 70;
const WIDTHS = [164, 172, 136, 156]; // of blobs, manifests, indexes and tags

function layOut(scene, aspect) {
  const { items } = scene;
  const depths = indexDepths(scene);
  const deepest = depths.reduce((most, depth) => Math.max(most, depth), 0);
  const used = WIDTHS.map((_, kind) => items.some((item) => item.kind === kind));
  const left = columnPlaces(used, deepest);
  items.forEach((item, place) => {
    item.place = place;
    item.column = item.kind === TAG ? 3 + deepest : item.kind === INDEX ? 2 + deepest - depths[place] : item.kind;
    item.x = left.at[item.column];
    item.width = WIDTHS[item.kind];
  });
  const lanes = makeLanes(scene, 4 + deepest);
  for (const lane of lanes) placeLane(scene, lane);
  placeLanes(lanes, left.width, aspect);
  scene.lanes = lanes;
  scene.laneWidth = left.width;
  scene.strata = WIDTHS.map((width, kind) => {
    const column = kind === TAG ? 3 + deepest : kind; // deeper indexes stand left of the others
    return used[kind] ? { kind, x: left.at[column], width: kind === INDEX ? width + deepest * (width + GAP) : width } : null;
  }).filter(Boolean);
  scene.width = Math.max(...lanes.map((lane) => lane.x + left.width), 1);
  scene.height = Math.max(...lanes.map((lane) => lane.y + lane.height), 1);
  return scene;
}

function columnPlaces(used, deepest) {
  const at = [];
  let x = PAD;
  for (let column = 0; column < 4 + deepest; column++) {
    const kind = column < 2 ? column : column === 3 + deepest ? TAG : INDEX;
    at.push(x);
    if (used[kind]) x += WIDTHS[kind] + GAP;
  }
  return { at, width: Math.max(x - GAP + PAD, 320) };
}

// How many indexes an index is below: 0 for one that is in none.
function indexDepths({ items, users }) {
  const depths = new Int32Array(items.length);
  for (let place = 0; place < items.length; place++) { // items that need it come before it
    if (items[place].kind !== INDEX) continue;
    for (const user of neighbours(users, place)) {
      if (user < place && items[user].kind === INDEX) depths[place] = Math.max(depths[place], depths[user] + 1);
    }
  }
  return depths;
}

function makeLanes(scene, columns) {
  const lanes = new Map();
  for (const item of scene.items) {
    const key = `${item.repository} ${item.level ? item.chunk : 0}`;
    let lane = lanes.get(key);
    if (!lane) {
      lane = { repository: item.repository, chunk: item.chunk, level: item.level, columns: Array.from({ length: columns }, () => []), first: Infinity };
      lanes.set(key, lane);
    }
    lane.columns[item.column].push(item);
    if (item.kind === TAG || !Number.isFinite(lane.first)) lane.first = Math.min(lane.first, item.nodes[0]);
    item.lane = lane;
  }
  const first = new Map(); // repositories in the order of the plan, the lanes of one together
  scene.model.goals.forEach((goal, number) => { if (!first.has(goal.repository)) first.set(goal.repository, number); });
  const rank = (lane) => first.get(lane.repository) ?? Infinity;
  const sorted = [...lanes.values()].sort((a, b) => rank(a) - rank(b) || a.repository - b.repository || a.chunk - b.chunk);
  for (let i = 0; i < sorted.length; i++) {
    sorted[i].part = sorted[i - 1]?.repository === sorted[i].repository || sorted[i + 1]?.repository === sorted[i].repository;
  }
  return sorted;
}

function mean(values) { return values.reduce((sum, value) => sum + value, 0) / values.length; }

function placeLane(scene, lane) {
  const { items } = scene;
  const { columns } = lane;
  const inLane = (places) => [...places].filter((place) => items[place].lane === lane).map((place) => items[place]);
  for (let column = columns.length - 1; column >= 0; column--) { // in the order of what needs them
    for (const item of columns[column]) {
      const users = inLane(neighbours(scene.users, item.place));
      item.rank = users.length ? mean(users.map((user) => user.order)) : Infinity;
    }
    columns[column].sort((a, b) => (a.kind === TAG ? 0 : a.rank - b.rank || 0) || a.nodes[0] - b.nodes[0]);
    columns[column].forEach((item, order) => { item.order = order; });
  }
  let widest = 0;
  columns.forEach((column, place) => { if (column.length >= columns[widest].length) widest = place; });
  columns[widest].forEach((item, order) => { item.y = order * ROW; });
  // Beside the middle of its neighbours; one that many others share draws each of them but little.
  const settle = (column, edges, back) => {
    const wanted = column.map((item, order) => {
      let sum = 0, weights = 0;
      for (const end of inLane(neighbours(edges, item.place))) {
        if (end.y === undefined || end === item) continue;
        const weight = 1 / neighbours(back, end.place).length ** 2;
        sum += weight * end.y; weights += weight;
      }
      return weights ? sum / weights : order * ROW;
    });
    spread(wanted).forEach((y, order) => { column[order].y = y; });
  };
  for (let column = widest - 1; column >= 0; column--) settle(columns[column], scene.users, scene.needs);
  for (let column = widest + 1; column < columns.length; column++) settle(columns[column], scene.needs, scene.users);
  const all = columns.flat();
  const top = all.reduce((least, item) => Math.min(least, item.y), Infinity);
  for (const item of all) item.y += TITLE + PAD / 2 - top;
  lane.height = all.reduce((most, item) => Math.max(most, item.y), 0) + HEIGHT + PAD;
}

// Places at least a row apart, in order, as near as can be to the wanted ones (least squares; pool adjacent violators).
function spread(wanted) {
  const pools = [];
  wanted.forEach((value, order) => {
    let pool = { sum: value - order * ROW, count: 1 };
    while (pools.length && pools.at(-1).sum / pools.at(-1).count >= pool.sum / pool.count) {
      const before = pools.pop();
      pool = { sum: before.sum + pool.sum, count: before.count + pool.count };
    }
    pools.push(pool);
  });
  return pools.flatMap((pool) => Array(pool.count).fill(pool.sum / pool.count)).map((value, order) => value + order * ROW);
}

// Lanes fill one column of the sheet after the other, as many columns as make the sheet as wide as the window is.
function placeLanes(lanes, width, aspect) {
  const total = lanes.reduce((sum, lane) => sum + lane.height + LANE_GAP, 0);
  const columns = Math.max(1, Math.round(Math.sqrt((aspect * total) / (width + SHEET_GAP))));
  const target = sheetHeight(lanes, columns);
  let x = 0, y = 0;
  lanes.forEach((lane, number) => {
    if (y > 0 && y + lane.height > target) { x += width + SHEET_GAP; y = 0; }
    lane.x = x; lane.y = y; lane.number = number; lane.width = width;
    for (const column of lane.columns) for (const item of column) { item.left = x + item.x; item.top = y + item.y; }
    y += lane.height + LANE_GAP;
  });
}

// The least height at which the lanes, in order, fit into so many columns.
function sheetHeight(lanes, columns) {
  let low = Math.max(...lanes.map((lane) => lane.height), 0);
  let high = lanes.reduce((sum, lane) => sum + lane.height + LANE_GAP, 0);
  while (high - low > 1) {
    const middle = (low + high) / 2;
    let used = 1, y = 0;
    for (const { height } of lanes) {
      if (y > 0 && y + height > middle) { used++; y = 0; }
      y += height + LANE_GAP;
    }
    if (used <= columns) high = middle; else low = middle;
  }
  return high;
}
