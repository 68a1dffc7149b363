// The words of the page: names, sizes and signs, the same as in the plan as text.

const SIGNS = {
  create: "+", move: "~", repair: "*", unchanged: "=", failed: "!", upload: "↑", mount: "↪", put: "⇧", present: "=",
};
const MEANS = {
  create: "the tag is new", move: "the tag names something else now", unchanged: "the tag names what it shall",
  repair: "the tag names what it shall, and parts of that are missing",
  failed: "the spec cannot be planned", upload: "the blob's bytes are sent",
  mount: "the blob comes from another repository of its registry, without its bytes",
  put: "the manifest or index is sent", present: "it is there already",
};

function registryOf(place) { return data.repositories[place][0]; }
function pathOf(place) { return data.repositories[place][1]; }
function repositoryName(place) { return data.repositories[place].join("/"); }

function digestName(place) {
  const text = data.digests[place];
  return text.includes(":") ? text : `sha256:${text}`;
}

function shortHex(place) { return digestName(place).split(":")[1].slice(0, 12); }
function shortDigest(place) { return `${digestName(place).split(":")[0]}:${shortHex(place)}`; }

function size(count) {
  if (count < 1024) return `${count} B`;
  const units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let value = count / 1024, power = 0;
  while (Math.round(value * 10) / 10 >= 1024 && power < units.length - 1) { value /= 1024; power++; }
  return `${value.toFixed(1)} ${units[power]}`;
}

function percent(part, whole) { return whole ? Math.floor((100 * part) / whole) : 0; }

// Whole percents of numbers that make a whole, which add up to 100: what rounding down leaves goes to the largest rests.
function percents(parts) {
  const whole = parts.reduce((sum, part) => sum + part, 0);
  const found = parts.map((part) => percent(part, whole));
  const rest = (place) => (100 * parts[place]) / whole - found[place];
  const order = parts.map((_, place) => place).sort((a, b) => rest(b) - rest(a) || a - b);
  const left = whole ? 100 - found.reduce((sum, part) => sum + part, 0) : 0;
  for (const place of order.slice(0, left)) found[place]++;
  return found;
}

function grouped(count) { return count.toLocaleString("en").replaceAll(",", "\u202f"); }

function number(count, one, many = `${one}s`) { return `${grouped(count)} ${count === 1 ? one : many}`; }

function plural(kind, count) {
  return number(count, KINDS[kind], kind === INDEX ? "indexes" : `${KINDS[kind]}s`);
}

// What a node is called where its repository is plain to see.
function shortName(model, v) {
  if (model.kind[v] !== TAG) return shortDigest(model.name[v]);
  if (v >= model.planned) return model.goals[model.goalOf[v]].name;
  return `:${data.texts[model.name[v]]}`;
}

function fullName(model, v) {
  const place = repositoryName(model.repository[v]);
  return model.kind[v] === TAG ? place + shortName(model, v) : `${place}@${digestName(model.name[v])}`;
}

// An element with attributes, and children that are elements or text; there is no other way to make one here, so
// that what a registry wrote is never taken for HTML.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

function sign(name) { return make("span", { class: `sign ${name}`, "aria-hidden": "true" }, SIGNS[name]); }
