// A scene on a canvas: shapes say the kind, signs and lines the action, colours repeat both. Knows no events.

const FAR = 0.2, READABLE = 0.45; // scales below which shapes, and words, are not worth their drawing
const MOUNTS_SHOWN = 120; // of more, only those of what is chosen: the others would cover the graph
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

// Canvases do not understand variables of CSS; an element does, and also which of two themes it is in.
function readPalette(probe) {
  const colour = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const palette = { actions: ACTIONS.map((name) => ({ fill: colour(`${name}-fill`), line: colour(`${name}-line`) })) };
  for (const name of ["ink", "faint", "page", "panel", "lane", "edge", "mount-line", "accent", "mixed-fill", "rule"]) {
    palette[name] = colour(name);
  }
  return palette;
}

const LINES = ACTIONS.map((name) => ({
  width: { present: 0.8, unchanged: 0.8, put: 1.3, mount: 1.3 }[name] ?? 1.9,
  dash: name === "mount" ? [4, 3] : [],
  double: name === "move" || name === "repair" || name === "failed",
}));

const SHAPES = [
  (path, x, y, w, h) => path.roundRect(x, y, w, h, h / 2),
  (path, x, y, w, h) => { const c = 6; polygon(path, [x, y, x + w - c, y, x + w, y + c, x + w, y + h, x, y + h]); },
  (path, x, y, w, h) => { const c = 9; polygon(path, [x + c, y, x + w - c, y, x + w, y + h / 2, x + w - c, y + h, x + c, y + h, x, y + h / 2]); },
  (path, x, y, w, h) => { const c = 11; polygon(path, [x + c, y, x + w, y, x + w, y + h, x + c, y + h, x, y + h / 2]); },
];

function polygon(path, points) {
  path.moveTo(points[0], points[1]);
  for (let i = 2; i < points.length; i += 2) path.lineTo(points[i], points[i + 1]);
  path.closePath();
}

function itemWords(model, item) {
  const first = item.nodes[0], count = item.nodes.length;
  const own = item.action >= 0 ? SIGNS[ACTIONS[item.action]] : "";
  if (!item.folded) {
    if (item.kind === BLOB) return [own, size(item.size), shortHex(model.name[first])];
    if (item.kind === MANIFEST) return [own, data.texts[model.label[first]].replace(/^attestation for /, "attests ") || "manifest", model.label[first] ? "" : shortHex(model.name[first])];
    if (item.kind === INDEX) return [own, "index", shortHex(model.name[first]).slice(0, 8)];
    return [own, shortName(model, first), ""];
  }
  if (item.kind === BLOB) return [own, plural(BLOB, count), size(item.size)];
  const labels = item.nodes.map((v) => data.texts[model.label[v]]);
  if (item.kind === MANIFEST && labels.every((label) => label.startsWith("attestation"))) return [own, number(count, "attestation"), ""];
  return [own, plural(item.kind, count), item.kind === TAG && !own ? counts(item) : ""];
}

// What is done about the nodes of a pile, by signs: +3 ~1 =2
function counts(item) {
  return [...item.actions].sort((a, b) => b[0] - a[0]).map(([which, count]) => SIGNS[ACTIONS[which]] + count).join(" ");
}

class Painter {
  constructor(canvas, model) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.model = model;
    this.widths = new Map();
  }

  resize(width, height) {
    const ratio = window.devicePixelRatio || 1;
    this.width = width; this.height = height; this.ratio = ratio;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
  }

  // Draws the part of the scene that the camera sees. state: lit (by item, or null), hovered, selected, cursor.
  draw(scene, camera, palette, state) {
    const { context } = this;
    Object.assign(this, { scene, camera, palette, state, scale: camera.scale });
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = palette.page;
    context.fillRect(0, 0, this.width, this.height);
    const zoom = this.ratio * camera.scale;
    context.setTransform(zoom, 0, 0, zoom, -camera.x * zoom, -camera.y * zoom);
    this.seen = { left: camera.x, top: camera.y, right: camera.x + this.width / camera.scale, bottom: camera.y + this.height / camera.scale };
    const lanes = scene.lanes.filter((lane) => this.sees(lane.x, lane.y, lane.width, lane.height));
    for (const lane of lanes) this.lane(lane);
    this.mounts(false);
    if (this.scale >= FAR) for (const lane of lanes) this.edges(lane, false);
    if (state.lit) { for (const lane of lanes) this.edges(lane, true); this.mounts(true); }
    if (this.scale < FAR) this.dots(lanes);
    else for (const lane of lanes) for (const column of lane.columns) this.column(column);
    for (const item of [state.selected, state.cursor]) if (item) this.ring(item, item === state.selected);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    for (const lane of lanes) this.title(lane);
    this.strata();
  }

  sees(x, y, w, h) {
    const { seen } = this;
    return x < seen.right && x + w > seen.left && y < seen.bottom && y + h > seen.top;
  }

  lane(lane) {
    const { context, palette } = this;
    context.beginPath();
    context.roundRect(lane.x, lane.y, lane.width, lane.height, 8);
    context.fillStyle = palette.lane; context.fill();
    context.strokeStyle = palette.rule; context.lineWidth = Math.max(1, 0.6 / this.scale); context.stroke();
  }

  *visible(column) { // a column is sorted from top to bottom
    let low = 0, high = column.length;
    while (low < high) { const middle = (low + high) >> 1; if (column[middle].top + HEIGHT < this.seen.top) low = middle + 1; else high = middle; }
    for (let i = low; i < column.length && column[i].top < this.seen.bottom; i++) yield column[i];
  }

  edges(lane, lit) {
    const { context, scene, state } = this;
    context.beginPath();
    for (const column of lane.columns) {
      for (const item of column) {
        for (const place of neighbours(scene.needs, item.place)) {
          const first = scene.items[place];
          const top = Math.min(first.top, item.top), bottom = Math.max(first.top, item.top) + HEIGHT;
          if (top > this.seen.bottom || bottom < this.seen.top) continue;
          if (state.lit && lit !== Boolean(state.lit[place] && state.lit[item.place])) continue;
          this.curve(first, item);
        }
      }
    }
    context.strokeStyle = lit ? this.palette.accent : this.palette.edge;
    context.globalAlpha = lit ? 1 : Math.min(1, Math.max(0.25, this.scale * 1.6)) * (state.lit ? 0.3 : 1);
    context.lineWidth = (lit ? 1.8 : 1) * Math.max(1, 0.5 / this.scale);
    context.stroke();
    context.globalAlpha = 1;
  }

  curve(first, then) {
    const x1 = first.left + first.width, y1 = first.top + HEIGHT / 2, x2 = then.left, y2 = then.top + HEIGHT / 2;
    const bend = Math.max(24, (x2 - x1) * 0.5);
    this.context.moveTo(x1, y1);
    this.context.bezierCurveTo(x1 + bend, y1, x2 - bend, y2, x2, y2);
  }

  mounts(lit) {
    const { context, scene, state } = this;
    const pairs = scene.mountPairs;
    if (!lit && pairs.length / 2 > MOUNTS_SHOWN) return;
    context.beginPath();
    for (let i = 0; i < pairs.length; i += 2) {
      const first = scene.items[pairs[i]], then = scene.items[pairs[i + 1]];
      if (state.lit && lit !== Boolean(state.lit[pairs[i]] && state.lit[pairs[i + 1]])) continue;
      if (!lit && first.lane.x !== then.lane.x) continue; // it would cross all that lies between
      const x1 = first.left, x2 = then.left, y1 = first.top + HEIGHT / 2, y2 = then.top + HEIGHT / 2;
      if (!this.sees(Math.min(x1, x2) - 60, Math.min(y1, y2), Math.abs(x1 - x2) + 80, Math.abs(y1 - y2) + 1)) continue;
      const out = Math.min(60, 16 + Math.abs(y1 - y2) / 12);
      context.moveTo(x1, y1);
      context.bezierCurveTo(x1 - out, y1, x2 - out, y2, x2, y2);
    }
    context.setLineDash([5, 4]);
    context.strokeStyle = this.palette["mount-line"];
    context.globalAlpha = lit ? 1 : state.lit ? 0.12 : 0.45;
    context.lineWidth = (lit ? 1.8 : 1) * Math.max(1, 0.5 / this.scale);
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  // From far away: one path for each action.
  dots(lanes) {
    const { context, palette, state } = this;
    const paths = new Map();
    for (const lane of lanes) {
      for (const column of lane.columns) {
        for (const item of this.visible(column)) {
          const dim = state.lit && !state.lit[item.place];
          const key = dim ? "dim" : item.action;
          if (!paths.has(key)) paths.set(key, new Path2D());
          paths.get(key).rect(item.left, item.top, item.width, HEIGHT);
        }
      }
    }
    for (const [key, path] of paths) {
      context.fillStyle = key === "dim" ? palette.rule : key < 0 ? palette.faint : palette.actions[key].line;
      context.fill(path);
    }
  }

  column(column) { for (const item of this.visible(column)) if (this.sees(item.left, item.top, item.width, HEIGHT)) this.item(item); }

  item(item) {
    const { context, palette, state } = this;
    const { left: x, top: y, width: w } = item;
    const shape = SHAPES[item.kind];
    const look = item.action < 0 ? { fill: palette["mixed-fill"], line: palette.faint } : palette.actions[item.action];
    const line = item.action < 0 ? { width: 1, dash: [], double: false } : LINES[item.action];
    context.globalAlpha = state.lit && !state.lit[item.place] ? 0.22 : 1;
    context.strokeStyle = look.line;
    if (item.folded) { // a pile
      context.lineWidth = 0.8;
      for (const offset of [4, 2]) {
        context.beginPath(); shape(context, x + offset, y + offset, w, HEIGHT);
        context.fillStyle = palette.lane; context.fill(); context.stroke();
      }
    }
    context.beginPath(); shape(context, x, y, w, HEIGHT);
    context.fillStyle = look.fill; context.fill();
    if (item.action < 0) this.parts(item, shape);
    context.lineWidth = line.width + (state.hovered === item ? 1 : 0);
    context.setLineDash(line.dash);
    context.beginPath(); shape(context, x, y, w, HEIGHT); context.stroke();
    context.setLineDash([]);
    if (line.double) { context.lineWidth = 0.9; context.beginPath(); shape(context, x + 3, y + 3, w - 6, HEIGHT - 6); context.stroke(); }
    if (this.scale >= READABLE) this.words(item, look);
    context.globalAlpha = 1;
  }

  // What a pile of different actions consists of, as a bar along its lower edge: hollow what is there, striped what is
  // mounted, and full what is sent.
  parts(item, shape) {
    const { context, palette } = this;
    const total = [...item.actions.values()].reduce((sum, value) => sum + value, 0) || 1;
    context.save();
    context.beginPath(); shape(context, item.left, item.top, item.width, HEIGHT); context.clip();
    let x = item.left;
    for (const [which, weight] of [...item.actions].sort((a, b) => a[0] - b[0])) {
      const width = (item.width * weight) / total;
      const { fill, line } = palette.actions[which];
      const name = ACTIONS[which];
      const hollow = name === "present" || name === "unchanged";
      context.fillStyle = line;
      context.fillRect(x, item.top + HEIGHT - 6, width, 6);
      context.fillStyle = fill;
      if (hollow) context.fillRect(x, item.top + HEIGHT - 5, width - 1, 4);
      if (name === "mount") for (let at = x + 3; at < x + width - 1; at += 6) context.fillRect(at, item.top + HEIGHT - 5, 3, 4);
      x += width;
    }
    context.restore();
  }

  words(item, look) {
    const { context, palette } = this;
    item.words ??= itemWords(this.model, item);
    const [mark, main, more] = item.words;
    const middle = item.top + HEIGHT / 2 + (item.action < 0 ? -1.5 : 0.5);
    let x = item.left + (item.kind === TAG ? 15 : item.kind === INDEX ? 13 : 9);
    const end = item.left + item.width - 8;
    context.textBaseline = "middle";
    if (mark) {
      context.font = `bold 12px ${FONT}`; context.fillStyle = look.line;
      context.fillText(mark, x, middle);
      x += 15;
    }
    const shown = this.fitted(main, end - x);
    const from = x + this.measured(shown) + 8;
    const rest = more && end - from > 24 ? this.fitted(more, end - from, 11) : "";
    context.font = `12px ${FONT}`; context.fillStyle = palette.ink;
    context.fillText(shown, x, middle);
    context.font = `11px ${FONT}`; context.fillStyle = palette.faint;
    if (rest) context.fillText(rest, from, middle);
  }

  measured(text, points = 12) {
    const key = `${points} ${text}`;
    if (!this.widths.has(key)) { this.context.font = `${points}px ${FONT}`; this.widths.set(key, this.context.measureText(text).width); }
    return this.widths.get(key);
  }

  fitted(text, room, points = 12) {
    if (this.measured(text, points) <= room) return text;
    let length = Math.floor((text.length * room) / this.measured(text, points));
    while (length > 1 && this.measured(`${text.slice(0, length)}…`, points) > room) length--;
    return `${text.slice(0, length)}…`;
  }

  ring(item, selected) {
    const { context, palette } = this;
    const gap = 4;
    context.beginPath(); SHAPES[item.kind](context, item.left - gap, item.top - gap, item.width + 2 * gap, HEIGHT + 2 * gap);
    context.strokeStyle = palette.accent; context.lineWidth = (selected ? 2.5 : 1.5) * Math.max(1, 0.5 / this.scale);
    context.setLineDash(selected ? [] : [2, 2]); context.stroke(); context.setLineDash([]);
  }

  // Titles keep their size on the screen, so that the repositories can be told from far away too.
  title(lane) {
    const { context, palette, camera } = this;
    const x = (lane.x - camera.x) * this.scale, y = (lane.y - camera.y) * this.scale, width = lane.width * this.scale;
    if (width < 70) return;
    const points = Math.max(10, Math.min(13, Math.round(13 * this.scale)));
    const height = Math.max(TITLE * this.scale, 14);
    if (lane.height * this.scale < 14) return;
    context.textBaseline = "middle";
    const inset = Math.max(4, PAD * this.scale);
    const sums = this.scale >= READABLE ? lane.sums : "";
    const sumsWidth = sums ? this.measured(sums, 11) + 12 : 0;
    const name = this.fitted(`${lane.level ? "▾" : "▸"} ${lane.title}`, (width - 2 * inset - sumsWidth) * 0.9, points);
    context.font = `bold ${points}px ${FONT}`; context.fillStyle = palette.ink;
    context.fillText(name, x + inset, y + height / 2);
    if (!sums) return;
    const from = x + width - inset - this.measured(sums, 11);
    context.font = `11px ${FONT}`; context.fillStyle = palette.faint;
    context.fillText(sums, from, y + height / 2);
  }

  strata() {
    const { context, palette, scene, camera } = this;
    if (this.scale < 0.28) return;
    context.fillStyle = palette.panel; context.fillRect(0, 0, this.width, 24);
    context.fillStyle = palette.rule; context.fillRect(0, 24, this.width, 1);
    context.font = `600 11px ${FONT}`; context.textBaseline = "middle"; context.fillStyle = palette.faint;
    const names = ["Blobs", "Manifests", "Indexes", "Tags"];
    for (const left of new Set(scene.lanes.map((lane) => lane.x))) {
      scene.strata.forEach((stratum, place) => {
        const x = (left + stratum.x - camera.x) * this.scale;
        if (x > -200 && x < this.width) context.fillText(`${names[stratum.kind]}${place < scene.strata.length - 1 ? "  →" : ""}`, x, 13);
      });
    }
  }
}
