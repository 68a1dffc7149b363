// The graph as something to move about in: camera, pointer and keys. Says what was chosen; decides nothing else.

const NEAREST = 2.5, TOP = 24; // the headings of the strata lie over the top of the canvas

class View {
  constructor(model, { canvas, map, tip, box, probe, onSelect, onUnfold, onLane, onFocus, onSpeak }) {
    Object.assign(this, { model, canvas, map, tip, box, probe, onSelect, onUnfold, onLane, onFocus, onSpeak });
    this.painter = new Painter(canvas, model);
    this.camera = { x: 0, y: 0, scale: 1 };
    this.state = { lit: null, hovered: null, selected: null, cursor: null };
    this.scene = null;
    this.pointers = new Map();
    this.palette = readPalette(probe);
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.listen();
    new ResizeObserver(() => this.resize()).observe(box);
    this.resize();
  }

  resize() {
    const before = this.painter.width;
    this.measure();
    if (this.scene && !before) this.home(false);
    this.redraw();
  }

  measure() {
    const { width, height } = this.box.getBoundingClientRect();
    const same = width === this.painter.width && height === this.painter.height && window.devicePixelRatio === this.painter.ratio;
    if (width && height && !same) this.painter.resize(width, height);
  }

  repaint() { this.palette = readPalette(this.probe); this.redraw(); }

  get aspect() { return (this.painter.width || 900) / (this.painter.height || 700); }

  // Shows another scene; the camera goes to its beginning, or keeps an anchor where it is on the screen.
  show(scene, anchor = null) {
    const at = anchor && this.scene && this.onScreen(anchor);
    this.scene = scene;
    this.measure();
    Object.assign(this.state, { hovered: null, cursor: null, selected: null, lit: null });
    this.tip.hidden = true;
    const now = at && this.placeOf(anchor);
    if (!now) { this.home(false); return; }
    const { width, height } = this.painter;
    const { scale } = this.camera;
    const seen = at.x > -200 && at.x < width && at.y > 0 && at.y < height;
    this.move({ scale, x: now.x - (seen ? at.x : 40) / scale, y: now.y - (seen ? at.y : 60) / scale }, false);
  }

  // Where an anchor is: the first lane of a repository, or the item of a node.
  placeOf({ repository, node }) {
    const lane = repository === undefined ? null : this.scene.lanes.find((each) => each.repository === repository);
    if (lane) return { x: lane.x, y: lane.y };
    const item = node === undefined ? null : this.itemOf(node);
    return item && { x: item.left, y: item.top };
  }

  onScreen(anchor) {
    const place = this.placeOf(anchor);
    const { x, y, scale } = this.camera;
    return place && { x: (place.x - x) * scale, y: (place.y - y) * scale };
  }

  itemOf(v) { const place = this.scene.itemOf[v]; return place < 0 ? null : this.scene.items[place]; }

  // The whole scene, or its beginning where the whole could not be read.
  home(animated = true) {
    if (this.scene && this.painter.width) this.overview(animated, Math.min(1, (this.painter.width - 28) / this.scene.laneWidth));
  }

  overview(animated = true, least = 0.01) {
    const { width, height } = this.painter;
    if (!this.scene || !width) return;
    const margin = 14;
    const fitting = Math.min((width - 2 * margin) / this.scene.width, (height - TOP - 2 * margin) / this.scene.height);
    const scale = Math.min(1.15, Math.max(fitting, least, 0.01));
    const left = Math.max(margin, (width - this.scene.width * scale) / 2);
    this.move({ scale, x: -left / scale, y: -(TOP + margin) / scale }, animated);
  }

  // The scene cannot be lost: a part of it stays in sight.
  kept({ x, y, scale }) {
    const width = this.painter.width / scale, height = this.painter.height / scale;
    const within = (value, extent, room) => Math.max(-0.75 * room, Math.min(extent - 0.25 * room, value));
    return { scale, x: within(x, this.scene.width, width), y: within(y, this.scene.height, height) };
  }

  move(wanted, animated = true) {
    cancelAnimationFrame(this.moving);
    const camera = this.kept(wanted);
    if (!animated || this.still.matches) { this.camera = camera; this.redraw(); return; }
    const from = this.camera, began = performance.now();
    const step = (now) => {
      const part = Math.min(1, (now - began) / 180), eased = 1 - (1 - part) ** 3;
      const between = (name) => from[name] + (camera[name] - from[name]) * eased;
      this.camera = { x: between("x"), y: between("y"), scale: between("scale") };
      this.redraw();
      if (part < 1) this.moving = requestAnimationFrame(step);
    };
    this.moving = requestAnimationFrame(step);
  }

  redraw() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => { this.asked = 0; this.drawNow(); });
  }

  drawNow() {
    if (!this.scene || !this.painter.width) return;
    this.painter.draw(this.scene, this.camera, this.palette, this.state);
    this.drawMap();
  }

  // A small picture of the whole, where not all of it is to be seen.
  drawMap() {
    const { map, scene, camera, painter } = this;
    const whole = scene.width * camera.scale <= painter.width + 2 && scene.height * camera.scale <= painter.height + 2;
    map.hidden = whole;
    if (whole) return;
    const scale = Math.min(130 / scene.width, 96 / scene.height, 0.2);
    const width = Math.max(24, scene.width * scale), height = Math.max(24, scene.height * scale);
    const ratio = window.devicePixelRatio || 1;
    map.width = width * ratio; map.height = height * ratio;
    map.style.width = `${width}px`; map.style.height = `${height}px`;
    const context = map.getContext("2d");
    context.scale(ratio, ratio);
    context.fillStyle = this.palette.panel; context.fillRect(0, 0, width, height);
    for (const lane of scene.lanes) {
      context.fillStyle = lane.main < 0 ? this.palette.rule : this.palette.actions[lane.main].line;
      context.globalAlpha = 0.7;
      context.fillRect(lane.x * scale, lane.y * scale, Math.max(1, lane.width * scale), Math.max(0.6, lane.height * scale - 0.4));
    }
    context.globalAlpha = 1;
    context.strokeStyle = this.palette.accent; context.lineWidth = 1.5;
    context.strokeRect(camera.x * scale, camera.y * scale, (painter.width / camera.scale) * scale, (painter.height / camera.scale) * scale);
    this.mapScale = scale;
  }

  zoom(factor, x = this.painter.width / 2, y = this.painter.height / 2, animated = true) {
    const { camera } = this;
    const fitting = Math.min(this.painter.width / this.scene.width, this.painter.height / this.scene.height);
    const scale = Math.min(NEAREST, Math.max(Math.min(0.3, fitting * 0.7), camera.scale * factor));
    this.move({ scale, x: camera.x + x / camera.scale - x / scale, y: camera.y + y / camera.scale - y / scale }, animated);
  }

  centre(item, animated = true) {
    const { width, height } = this.painter;
    const scale = Math.max(this.camera.scale, 0.7);
    const { lane } = item; // all of it, where it is not too wide
    const middle = lane.width * scale <= width ? lane.x + lane.width / 2 : item.left + item.width / 2;
    this.move({ scale, x: middle - width / scale / 2, y: item.top + HEIGHT / 2 - height / scale / 2 }, animated);
  }

  reveal(item) {
    this.measure();
    const { camera, painter } = this;
    const x = (item.left - camera.x) * camera.scale, y = (item.top - camera.y) * camera.scale;
    const seen = x > 0 && y > TOP && x + item.width * camera.scale < painter.width && y + HEIGHT * camera.scale < painter.height;
    if (!seen || camera.scale < READABLE) this.centre(item); else this.redraw();
  }

  // What is at a place of the screen: an item, a lane's title, or nothing.
  at(x, y) {
    if (!this.scene) return {};
    const wx = x / this.camera.scale + this.camera.x, wy = y / this.camera.scale + this.camera.y;
    const lane = this.scene.lanes.find((each) => wx >= each.x && wx <= each.x + each.width && wy >= each.y && wy <= each.y + each.height);
    if (!lane) return {};
    for (const column of lane.columns) {
      if (!column.length || wx < column[0].left - 2 || wx > column[0].left + column[0].width + 4) continue;
      let low = 0, high = column.length;
      while (low < high) { const middle = (low + high) >> 1; if (column[middle].top + HEIGHT + 3 < wy) low = middle + 1; else high = middle; }
      const item = column[low];
      if (item && wy >= item.top - 2) return { item, lane };
    }
    return { lane, title: (wy - lane.y) * this.camera.scale < Math.max(TITLE * this.camera.scale, 14) };
  }

  // Lights up nodes, and shows which item is chosen.
  select(v, nodes) {
    const { scene, state } = this;
    state.selected = v >= 0 ? this.itemOf(v) : null;
    state.lit = null;
    if (nodes) {
      state.lit = new Uint8Array(scene.items.length);
      for (const node of nodes) if (scene.itemOf[node] >= 0) state.lit[scene.itemOf[node]] = 1;
    }
    if (state.selected) state.cursor = state.selected;
    this.redraw();
  }

  listen() {
    const { canvas } = this;
    const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const step = event.deltaMode ? event.deltaY * 20 : event.deltaY;
      if (event.shiftKey) this.pan(step || event.deltaX, 0);
      else this.zoom(Math.exp(-Math.max(-200, Math.min(200, step)) / 400), ...place(event), false);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, place(event));
      this.dragged = this.pointers.size > 1;
    });
    canvas.addEventListener("pointermove", (event) => this.pointerMoved(event, place(event)));
    const up = (event) => {
      if (!this.pointers.delete(event.pointerId) || this.dragged || event.type === "pointercancel") { canvas.classList.remove("dragging"); return; }
      this.clicked(...place(event));
    };
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointercancel", up);
    canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; this.state.hovered = null; this.redraw(); });
    canvas.addEventListener("dblclick", (event) => { const { item } = this.at(...place(event)); if (item?.folded) this.onUnfold(item); });
    canvas.addEventListener("keydown", (event) => { if (this.key(event)) event.preventDefault(); });
    canvas.addEventListener("blur", () => { this.state.cursor = this.state.selected; this.redraw(); });
    this.map.addEventListener("pointerdown", (event) => {
      const box = this.map.getBoundingClientRect();
      const { scale } = this.camera;
      const x = (event.clientX - box.left) / this.mapScale - this.painter.width / scale / 2;
      this.move({ scale, x, y: (event.clientY - box.top) / this.mapScale - this.painter.height / scale / 2 });
    });
  }

  pointerMoved(event, [x, y]) {
    const before = this.pointers.get(event.pointerId);
    if (!before) { this.hover(x, y); return; }
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    if (others.length) { // two fingers
      const [other] = others;
      const apart = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]) || 1;
      this.zoom(apart([x, y]) / apart(before), (x + other[0]) / 2, (y + other[1]) / 2, false);
    } else {
      if (!this.dragged && Math.hypot(x - before[0], y - before[1]) < 4) return;
      this.dragged = true;
      this.canvas.classList.add("dragging");
      this.tip.hidden = true;
      this.pan(before[0] - x, before[1] - y);
    }
    this.pointers.set(event.pointerId, [x, y]);
  }

  pan(dx, dy) {
    const { x, y, scale } = this.camera;
    this.move({ scale, x: x + dx / scale, y: y + dy / scale }, false);
  }

  hover(x, y) {
    const { item, title, lane } = this.at(x, y);
    this.canvas.classList.toggle("over", Boolean(item || title));
    if (item !== this.state.hovered) { this.state.hovered = item ?? null; this.redraw(); }
    const text = item ? describe(this.model, item) : title ? `${lane.title}: ${lane.sums}` : "";
    this.tip.hidden = !text;
    if (!text) return;
    this.tip.textContent = text;
    this.tip.style.left = `${Math.max(0, Math.min(x + 14, this.painter.width - this.tip.offsetWidth - 6))}px`;
    this.tip.style.top = `${y + 20 + this.tip.offsetHeight > this.painter.height ? y - 10 - this.tip.offsetHeight : y + 20}px`;
  }

  clicked(x, y) {
    this.canvas.classList.remove("dragging");
    const { item, title, lane } = this.at(x, y);
    if (item) this.onSelect(item);
    else if (title) this.onLane(lane);
    else this.onSelect(null);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.scene?.items.length) return false;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step && event.shiftKey) { this.pan(step[0] * 80, step[1] * 80); return true; }
    if (step) { this.step(...step); return true; }
    const { cursor } = this.state;
    if (event.key === "Enter" && cursor) this.onSelect(cursor);
    else if ((event.key === "o" || event.key === " ") && cursor) { if (cursor.folded) this.onUnfold(cursor); }
    else if (event.key === "f" && cursor) this.onFocus(cursor);
    else if (event.key === "+" || event.key === "=") this.zoom(1.3);
    else if (event.key === "-") this.zoom(1 / 1.3);
    else if (event.key === "0") this.overview();
    else return false;
    return true;
  }

  // Left to what is needed, right to what needs it, up and down within the stratum.
  step(dx, dy) {
    const { scene, state } = this;
    let next = null;
    if (!state.cursor) next = scene.lanes[0].columns.findLast((column) => column.length)[0];
    else if (dx) {
      const ends = [...neighbours(dx < 0 ? scene.needs : scene.users, state.cursor.place)].map((place) => scene.items[place]);
      const distance = (item) => Math.abs(item.top - state.cursor.top) + (item.lane === state.cursor.lane ? 0 : 1e6);
      next = ends.sort((a, b) => distance(a) - distance(b))[0];
    } else {
      const { lane, column, order } = state.cursor;
      next = lane.columns[column][order + dy];
      for (let number = lane.number + dy; !next && scene.lanes[number]; number += dy) {
        next = scene.lanes[number].columns[column].at(dy > 0 ? 0 : -1);
      }
    }
    if (!next) return;
    state.cursor = next;
    this.reveal(next);
    this.onSpeak(describe(this.model, next));
  }
}

// An item in a few words.
function describe(model, item) {
  const first = item.nodes[0];
  if (item.folded) {
    const actions = [...item.actions.keys()].map((which) => ACTIONS[which]).join(", ");
    return `${plural(item.kind, item.nodes.length)}, ${actions}${item.kind === TAG ? "" : `, ${size(item.size)}`}, folded: a double click unfolds`;
  }
  const label = data.texts[model.label[first]];
  const what = item.kind === TAG ? `tag ${shortName(model, first)}` : `${KINDS[item.kind]}${label ? ` ${label}` : ""} ${shortDigest(model.name[first])}, ${size(item.size)}`;
  return `${ACTIONS[item.action]} ${what}: ${data.texts[model.reason[first]]}`;
}
