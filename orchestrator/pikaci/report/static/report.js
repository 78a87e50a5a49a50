"use strict";
// What the page does beyond its HTML: the parts of long logs that are not shown, and a search in all of them.
(() => {
  const MOST_SHOWN = 4; // parts of a log, of 64 KiB each
  const MOST_FOUND = 500;
  const GO = { first: "First lines", before: "Lines before", after: "Lines after", last: "Last lines" };
  const AT_ONCE_MS = 12; // of searching, until the browser may do something else

  // Lines to HTML, as ansi.py does it.
  const CONTROL = /\x1b\[([0-9;:]*)m|(?:\x1b\[|\x9b)[0-?]*[ -\/]*[@-~]?|\x1b[\]PX^_k][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)|\x1b\](?:[0-9]+;)?|\x1b[ -\/]*[0-~]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;
  const TURNS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
  const HIDDEN = /(?:^|;)0*8(?:;|$)/, PALETTE = /[345]8[;:]/;
  const BASE = [[0, 0, 0], [205, 0, 0], [0, 205, 0], [205, 205, 0], [0, 0, 238], [205, 0, 205], [0, 205, 205], [229, 229, 229],
    [127, 127, 127], [255, 0, 0], [0, 255, 0], [255, 255, 0], [92, 92, 255], [255, 0, 255], [0, 255, 255], [255, 255, 255]];
  const CUBE = [0, 95, 135, 175, 215, 255];
  const ON = { 1: "b", 2: "d", 3: "i", 4: "u", 7: "inverse", 9: "s" };
  const OFF = { 22: ["b", "d"], 23: ["i"], 24: ["u"], 27: ["inverse"], 29: ["s"] };
  const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;" };
  const escape = (text) => text.replace(/[&<>"']/g, (char) => ESCAPES[char]);
  const bare = (text) => text.replace(CONTROL, "");
  const nearest = (rgb) => {
    const far = BASE.map((each) => each.reduce((sum, part, i) => sum + (rgb[i] - part) ** 2, 0));
    return far.indexOf(Math.min(...far));
  };
  const of256 = (n) => {
    if (n < 16) return n;
    if (n >= 232) return nearest(Array(3).fill(8 + 10 * (Math.min(n, 255) - 232)));
    n -= 16;
    return nearest([CUBE[Math.floor(n / 36)], CUBE[Math.floor(n / 6) % 6], CUBE[n % 6]]);
  };
  const extended = (numbers) => {
    const kind = numbers.length ? numbers.shift() : 0;
    if (kind === 5 && numbers.length) return of256(numbers.shift());
    if (kind === 2 && numbers.length >= 3) return nearest(numbers.splice(0, 3));
    return null;
  };
  const restyle = (style, codes) => {
    const numbers = codes.split(/[;:]/).map((each) => Number(each.slice(0, 4)));
    while (numbers.length) {
      const number = numbers.shift();
      if (number === 0) Object.assign(style, { front: null, back: null, flags: new Set() });
      else if (number in ON) style.flags.add(ON[number]);
      else if (number in OFF) OFF[number].forEach((flag) => style.flags.delete(flag));
      else if (number === 38 || number === 48) {
        const colour = extended(numbers);
        if (colour !== null) style[number === 48 ? "back" : "front"] = colour;
      } else if (number === 39) style.front = null;
      else if (number === 49) style.back = null;
      else for (const [first, base, where] of [[30, 0, "front"], [40, 0, "back"], [90, 8, "front"], [100, 8, "back"]])
        if (first <= number && number < first + 8) style[where] = base + number - first;
    }
  };
  const classes = (style) => {
    let { front, back } = style;
    if (style.flags.has("inverse")) [front, back] = [back ?? 16, front ?? 17];
    const flags = [...style.flags].filter((flag) => flag !== "inverse").sort();
    return [...(front === null ? [] : [`f${front}`]), ...(back === null ? [] : [`g${back}`]), ...flags.map((flag) => `a${flag}`)].join(" ");
  };
  const lineHtml = (line) => {
    const last = line.split("\r").reverse().find((part) => bare(part).trim()) ?? "";
    const style = { front: null, back: null, flags: new Set() };
    let html = "", at = 0;
    const say = (text) => {
      const names = classes(style);
      if (text) html += names ? `<span class="${names}">${escape(text)}</span>` : escape(text);
    };
    const kept = last.replace(CONTROL, (all, codes) =>
      codes === undefined || (HIDDEN.test(codes) && !PALETTE.test(codes)) ? "" : all).replace(TURNS, "\ufffd");
    for (const found of kept.matchAll(/\x1b\[([0-9;:]*)m/g)) {
      say(kept.slice(at, found.index));
      at = found.index + found[0].length;
      restyle(style, found[1]);
    }
    say(kept.slice(at));
    return html;
  };

  window.pikaciLine = lineHtml; // for a test, which compares it with ansi.py

  const data = (script) => script.textContent.replace(/\\x([0-9a-f]{2})/g, (_, code) => String.fromCharCode(parseInt(code, 16)));
  const linesOf = (text) => (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
  const block = (text, first) => {
    const lines = linesOf(text), made = document.createElement("div");
    made.className = "lines";
    made.innerHTML = '<pre class="no" aria-hidden="true"></pre><pre class="text"></pre>';
    made.firstChild.textContent = lines.map((_, i) => first + i).join("\n");
    made.lastChild.innerHTML = lines.map(lineHtml).join("\n");
    return made;
  };

  class Log {
    constructor(details) {
      this.details = details;
      this.scroll = details.querySelector(".scroll");
      this.tail = details.querySelector("[data-tail]");
      this.parts = [...details.querySelectorAll('script[type="text/plain"]')];
      this.firsts = [...this.parts, this.tail].map((each) => Number(each.dataset.first));
      this.end = this.parts.length;
      this.lines = this.firsts[this.end] + this.tail.lastChild.textContent.split("\n").length - 1;
      this.from = this.to = this.end;
      this.tools = document.createElement("div");
      this.tools.className = "tools";
      for (const [where, words] of Object.entries(GO)) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = words;
        button.addEventListener("click", () => this.go(where));
        this.tools.append(button);
      }
      this.range = document.createElement("span");
      this.range.className = "dim";
      this.tools.append(this.range);
      if (this.parts.length) this.scroll.before(this.tools);
      this.isFresh = true; // not looked at yet: it opens at its end
      details.addEventListener("toggle", () => this.isFresh && this.bottom());
      if (details.open) this.bottom();
      this.tell();
    }
    bottom() {
      this.isFresh = !this.details.open;
      this.scroll.scrollTop = this.scroll.scrollHeight;
    }
    text(i) {
      return i === this.end ? this.tail.lastChild.textContent : data(this.parts[i]);
    }
    show(from, to) {
      const blocks = [];
      for (let i = from; i <= to; i++) blocks.push(i === this.end ? this.tail : block(this.text(i), this.firsts[i]));
      for (const mark of this.tail.querySelectorAll("mark")) mark.replaceWith(...mark.childNodes);
      this.scroll.querySelectorAll(".lines").forEach((each) => each.remove());
      this.scroll.append(...blocks);
      [this.from, this.to] = [from, to];
      this.tell();
      return blocks;
    }
    tell() {
      const last = this.to === this.end ? this.lines : this.firsts[this.to + 1] - 1;
      this.range.textContent = `lines ${this.firsts[this.from]} to ${last} of ${this.lines}`;
      const [first, before, after, end] = this.tools.querySelectorAll("button");
      first.disabled = before.disabled = this.from === 0;
      after.disabled = end.disabled = this.to === this.end;
    }
    go(where) {
      if (where === "first") this.show(0, 0), (this.scroll.scrollTop = 0);
      else if (where === "last") this.show(this.end, this.end), this.bottom();
      else if (where === "before") {
        const from = Math.max(0, this.from - 1);
        const blocks = this.show(from, Math.min(this.to, from + MOST_SHOWN - 1));
        this.scroll.scrollTop = Math.max(0, blocks[0].offsetHeight - this.scroll.clientHeight / 2);
      } else if (where === "after") {
        const to = Math.min(this.end, this.to + 1);
        const blocks = this.show(Math.max(this.from, to - MOST_SHOWN + 1), to);
        this.scroll.scrollTop = Math.max(0, blocks.at(-1).offsetTop - this.scroll.clientHeight / 2);
      }
    }
    find(line) {
      this.isFresh = false;
      this.details.open = true;
      const i = Math.max(0, this.firsts.findLastIndex((first) => first <= line));
      const [made] = this.show(i, i);
      const lines = made.lastChild.innerHTML.split("\n"), at = Math.min(lines.length - 1, line - this.firsts[i]);
      lines[at] = `<mark>${lines[at] || " "}</mark>`;
      made.lastChild.innerHTML = lines.join("\n");
      const mark = made.querySelector("mark");
      this.scroll.scrollTop = made.offsetTop + mark.offsetTop - this.scroll.clientHeight / 2;
      this.scroll.scrollIntoView({ block: "center" });
      this.scroll.focus({ preventScroll: true });
    }
  }

  const logs = new Map([...document.querySelectorAll("details.log")].map((each) => [each.id, new Log(each)]));

  const opened = () => {
    let target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
    target?.scrollIntoView();
  };
  addEventListener("hashchange", opened);
  if (location.hash) opened();
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-line]");
    const log = link && logs.get(link.hash.slice(1));
    if (!log) return;
    event.preventDefault();
    log.find(Number(link.dataset.line));
  });

  // The search: a look at each part of each log, which lets the browser breathe between them.
  const form = document.querySelector(".search"), input = form.querySelector("input"), output = form.querySelector("output");
  const found = document.querySelector(".found");
  const breathe = () => new Promise((resolve) => setTimeout(resolve));
  let searches = 0, searched = "";
  const search = async () => {
    const mine = ++searches, words = (searched = input.value);
    found.replaceChildren();
    found.hidden = true;
    output.textContent = "";
    if (!words) return;
    const pattern = new RegExp(words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "i");
    const list = document.createElement("ol");
    let count = 0, since = performance.now();
    for (const log of logs.values()) {
      for (let i = 0; i <= log.end && count < MOST_FOUND; i++) {
        const text = bare(log.text(i));
        if (pattern.test(text)) linesOf(text).forEach((line, at) => {
          if (count >= MOST_FOUND || !pattern.test(line)) return;
          count++;
          list.append(hit(log, log.firsts[i] + at, line));
        });
        if (performance.now() - since > AT_ONCE_MS) {
          output.textContent = `searching, ${count} so far`;
          await breathe();
          if (mine !== searches) return;
          since = performance.now();
        }
      }
    }
    output.textContent = count === 0 ? "no line" : count < MOST_FOUND ? `${count} line${count > 1 ? "s" : ""}` : `the first ${count} lines`;
    found.hidden = count === 0;
    found.replaceChildren(list);
  };
  const hit = (log, line, text) => {
    const item = document.createElement("li"), link = document.createElement("a"), code = document.createElement("code");
    link.href = `#${log.details.id}`;
    link.dataset.line = line;
    link.textContent = `${log.details.dataset.title}:${line}`;
    code.textContent = ` ${text.slice(0, 300)}`;
    item.append(link, code);
    return item;
  };
  form.hidden = false;
  let later;
  input.addEventListener("input", () => {
    clearTimeout(later);
    later = setTimeout(search, 200);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(later);
    if (input.value !== searched) await search();
    found.querySelector("a")?.focus();
  });
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.matches("input")) {
      event.preventDefault();
      input.focus();
    } else if (event.key === "Escape" && (event.target === input || found.contains(event.target))) {
      input.value = "";
      search();
      input.focus();
    }
  });
})();
