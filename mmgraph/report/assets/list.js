// The table of tags: sorted, and of thousands of rows only those in sight are in the document.

const ROW_HEIGHT = 30, SPARE = 8;

const COLUMNS = [
  { key: "action", title: "Action", hint: "What is done about the tag", value: (goal) => RESULTS.indexOf(goal.result) },
  { key: "name", title: "Tag", hint: "The destination", value: (goal) => `${goal.place}${goal.name}` },
  { key: "moved", title: "Moves", hint: "Bytes of all uploads that the tag needs", value: (goal) => goal.moved, number: true },
  { key: "alone", title: "Alone", hint: "Bytes that would not move if this tag were dropped", value: (goal) => goal.alone, number: true },
  { key: "shared", title: "Common", hint: "Bytes that move for this tag and for others as well", value: (goal) => goal.moved - goal.alone, number: true },
];
const collator = new Intl.Collator("en", { numeric: true });

class List {
  constructor({ rows, table, headings, body, none, single, onSelect }) {
    Object.assign(this, { rows, table, headings, body, none, onSelect });
    this.prefix = single; // the registry, where there is only one: then it goes without saying
    this.goals = [];
    this.sort = { key: "", down: false };
    this.selected = -1;
    this.cursor = -1;
    this.makeHeadings();
    rows.addEventListener("scroll", () => this.render(), { passive: true });
    table.addEventListener("keydown", (event) => { if (this.key(event)) event.preventDefault(); });
    body.addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-place]");
      if (row) this.choose(+row.dataset.place);
    });
    new ResizeObserver(() => this.render(true)).observe(rows);
    addEventListener("beforeprint", () => { this.printing = true; this.render(true); });
    addEventListener("afterprint", () => { this.printing = false; this.render(true); });
  }

  makeHeadings() {
    for (const column of COLUMNS) {
      const button = make("button", { type: "button", title: `${column.hint}; sort`, "data-key": column.key, onclick: () => this.sortBy(column) }, column.title, make("span", { class: "arrow", "aria-hidden": "true" }));
      this.headings.append(make("th", { scope: "col", class: `${column.key}${column.number ? " number" : ""}` }, button));
    }
    this.showSort();
  }

  // The other way round at the second click, and as planned at the third.
  sortBy(column) {
    const first = Boolean(column.number);
    const { key, down } = this.sort;
    if (key !== column.key) this.sort = { key: column.key, down: first };
    else if (down === first) this.sort = { key, down: !first };
    else this.sort = { key: "", down: false };
    this.showSort();
    this.show(this.goals);
  }

  showSort() {
    COLUMNS.forEach((column, place) => {
      const heading = this.headings.children[place];
      const mine = this.sort.key === column.key;
      heading.setAttribute("aria-sort", mine ? (this.sort.down ? "descending" : "ascending") : "none");
      heading.querySelector(".arrow").textContent = mine ? (this.sort.down ? "▾" : "▴") : "";
    });
  }

  show(goals) {
    const column = COLUMNS.find(({ key }) => key === this.sort.key);
    const rank = (goal) => (goal.result === "failed" ? 0 : 1); // what failed is to be seen first
    this.goals = [...goals].sort((a, b) => rank(a) - rank(b) || a.number - b.number);
    if (column) {
      const values = new Map(goals.map((goal) => [goal, column.value(goal)]));
      const compare = column.key === "name" ? collator.compare : (a, b) => a - b;
      const sense = this.sort.down ? -1 : 1;
      this.goals.sort((a, b) => sense * compare(values.get(a), values.get(b)) || a.number - b.number);
    }
    this.cursor = this.goals.findIndex((goal) => goal.number === this.selected);
    this.none.hidden = goals.length > 0;
    this.table.setAttribute("aria-rowcount", goals.length + 1);
    this.rows.scrollTop = this.cursor < 0 ? 0 : Math.max(0, this.cursor * ROW_HEIGHT - this.rows.clientHeight / 2);
    this.render(true);
  }

  // Rows in sight, and above and below them one empty row as high as those that are not.
  render(anew = false) {
    const height = this.rows.clientHeight || 600;
    const all = this.printing;
    const first = all ? 0 : Math.max(0, Math.floor(this.rows.scrollTop / ROW_HEIGHT) - SPARE);
    const last = all ? this.goals.length : Math.min(this.goals.length, first + Math.ceil(height / ROW_HEIGHT) + 2 * SPARE);
    if (!anew && first === this.first && last === this.last) return;
    Object.assign(this, { first, last });
    const filler = (count) => {
      if (!count) return [];
      const row = make("tr", { class: "filler", "aria-hidden": "true" }, make("td", { colspan: COLUMNS.length }));
      row.style.height = `${count * ROW_HEIGHT}px`;
      return [row];
    };
    const rows = [];
    for (let place = first; place < last; place++) rows.push(this.row(this.goals[place], place));
    this.body.replaceChildren(...filler(first), ...rows, ...filler(this.goals.length - last));
    this.mark();
  }

  row(goal, place) {
    const bytes = (count) => make("td", { class: "number" }, goal.result === "failed" ? "" : count ? size(count) : "–");
    const path = this.prefix ? pathOf(goal.repository) : goal.place;
    const notes = [
      goal.missing.length && make("span", { class: "lack", title: `lacks ${goal.missing.join(", ")}` }, "! lacks"),
      goal.broken.length && make("span", { class: "lack", title: goal.broken.join("\n") }, "! rule"),
    ].filter(Boolean);
    return make("tr", { id: `row-${goal.number}`, "data-place": place, "aria-rowindex": place + 2, class: goal.result },
      make("td", { class: "action" }, sign(goal.result), goal.result),
      make("th", { scope: "row", class: "name", title: goal.place + goal.name }, make("span", { class: "line" }, make("span", { class: "path" }, make("bdi", {}, path)), make("b", {}, goal.name), ...notes)),
      bytes(goal.moved), bytes(goal.alone), bytes(goal.moved - goal.alone));
  }

  mark() {
    for (const row of this.body.children) {
      if (!row.dataset.place) continue;
      const place = +row.dataset.place;
      row.setAttribute("aria-selected", this.goals[place].number === this.selected);
      row.classList.toggle("cursor", place === this.cursor);
    }
    const current = this.goals[this.cursor];
    if (current && this.cursor >= this.first && this.cursor < this.last) this.table.setAttribute("aria-activedescendant", `row-${current.number}`);
    else this.table.removeAttribute("aria-activedescendant");
  }

  select(number) {
    this.selected = number;
    const place = this.goals.findIndex((goal) => goal.number === number);
    if (place >= 0) { this.cursor = place; this.reveal(place); }
    this.mark();
  }

  choose(place) {
    this.cursor = place;
    this.onSelect(this.goals[place]);
  }

  reveal(place) {
    const top = place * ROW_HEIGHT, head = this.headings.offsetHeight || 30;
    if (top < this.rows.scrollTop) this.rows.scrollTop = top;
    else if (top + ROW_HEIGHT > this.rows.scrollTop + this.rows.clientHeight - head) this.rows.scrollTop = top + ROW_HEIGHT - this.rows.clientHeight + head;
    this.render();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.table) return false;
    const page = Math.max(1, Math.floor(this.rows.clientHeight / ROW_HEIGHT) - 2);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (step !== undefined && this.goals.length) {
      this.cursor = Math.max(0, Math.min(this.goals.length - 1, this.cursor + step));
      this.reveal(this.cursor);
      this.mark();
      return true;
    }
    if (event.key === "Enter" && this.goals[this.cursor]) { this.choose(this.cursor); return true; }
    return false;
  }
}
