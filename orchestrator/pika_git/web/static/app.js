"use strict";
// What pages do beyond their HTML: times that stay right, logs that grow, gaps that fill, and a look
// at whether the page is still what the forge would show. Every page works without it.
(() => {
  const main = document.querySelector("main");

  // Times
  const rtf = (secs) => {
    const size = Math.abs(secs);
    if (size < 5) return "just now";
    const [unit, name] = size < 60 ? [1, "s"] : size < 3600 ? [60, "min"] : size < 86400 ? [3600, "h"] : [86400, "day"];
    const count = Math.floor(size / unit);
    const said = `${count} ${name}${name === "day" && count !== 1 ? "s" : ""}`;
    return secs > 0 ? `${said} ago` : `in ${said}`;
  };
  const skew = Number(main.dataset.now) * 1000 - Date.now(); // the forge's clock is the one that counts
  const times = () => {
    for (const each of document.querySelectorAll("time[datetime]")) {
      const said = rtf((Date.now() + skew - Date.parse(each.dateTime)) / 1000);
      if (each.textContent !== said) each.textContent = said;
    }
  };
  setInterval(times, 15e3);

  // A page that shows what still changes is loaded anew when the forge would show another.
  const parts = (root) => {
    const copy = root.cloneNode(true);
    for (const each of copy.querySelectorAll("time, .log, .words, .secs, svg, .sentence, .lead, .did, .age")) each.remove();
    return copy.textContent.replace(/\s+/g, " ");
  };
  const isBusy = () =>
    document.querySelector("details.ask[open]") !== null ||
    (document.activeElement && document.activeElement.matches("input, select")) ||
    !getSelection().isCollapsed;
  if (main.dataset.live) {
    let shown = parts(main);
    setInterval(async () => {
      if (document.hidden || isBusy()) return;
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (!answer.ok || answer.redirected) return;
        const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
        if (next && parts(next) !== shown && !isBusy()) location.reload();
        else if (next) refresh(next);
      } catch {
        // The forge is away: the page stays as it is, and the next look may find it.
      }
    }, Number(main.dataset.live) * 1000);
  }
  // What only counts on is replaced in place.
  const refresh = (next) => {
    for (const kind of [".sentence", ".lead", ".words", ".secs", ".age"]) {
      const now = main.querySelectorAll(kind), then = next.querySelectorAll(kind);
      if (now.length === then.length) now.forEach((each, i) => each.innerHTML !== then[i].innerHTML && (each.innerHTML = then[i].innerHTML));
    }
  };

  // Logs: as log_html.py does it, for text that comes one chunk after the other.
  const BASE = [[0, 0, 0], [205, 0, 0], [0, 205, 0], [205, 205, 0], [0, 0, 238], [205, 0, 205], [0, 205, 205], [229, 229, 229],
    [127, 127, 127], [255, 0, 0], [0, 255, 0], [255, 255, 0], [92, 92, 255], [255, 0, 255], [0, 255, 255], [255, 255, 255]];
  const CUBE = [0, 95, 135, 175, 215, 255];
  const ON = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
  const OFF = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"] };
  const nearest = (...rgb) => {
    const far = BASE.map((each) => each.reduce((sum, part, i) => sum + (rgb[i] - part) ** 2, 0));
    return far.indexOf(Math.min(...far));
  };
  const of256 = (n) => {
    if (n < 16) return n;
    if (n < 232) return nearest(CUBE[Math.floor((n - 16) / 36)], CUBE[Math.floor((n - 16) / 6) % 6], CUBE[(n - 16) % 6]);
    const grey = 8 + 10 * (Math.min(n, 255) - 232);
    return nearest(grey, grey, grey);
  };
  const TOKEN = /\x1b\[([0-9;:?<=>]{0,240})[ -/]{0,8}([@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ\\`-~]|([\r\n\b])|([^\x1b\r\n\b]+)/uy;
  const MOST_ESCAPE = 256, MOST_LINE = 16384;

  class LogHtml {
    constructor(pre) {
      this.pre = pre;
      this.style = { front: null, back: null, flags: new Set() };
      this.names = "";
      this.chars = [];
      this.column = 0;
      this.blank = 0; // so many characters from the beginning were erased, and not written over
      this.rest = "";
      this.open = document.createElement("span"); // the line that isn't whole yet
      pre.append(this.open);
    }
    feed(text) {
      text = this.rest + text;
      let at = 0;
      while (at < text.length) {
        TOKEN.lastIndex = at;
        const token = TOKEN.exec(text);
        if (token === null) {
          if (text.length - at <= MOST_ESCAPE) break;
          this.write(text[at]);
          at += 1;
          continue;
        }
        at = TOKEN.lastIndex;
        const [, parameters, final, control, plain] = token;
        if (plain !== undefined) this.write(plain);
        else if (control === "\n") this.line("\n");
        else if (control !== undefined) this.column = control === "\r" ? 0 : Math.max(0, this.column - 1);
        else if (final === "m") this.restyle(parameters);
        else if (final === "K") this.erase(parameters);
        if (this.chars.length > MOST_LINE) this.line("");
      }
      this.rest = text.slice(at);
      this.open.replaceChildren(...this.shown());
    }
    write(text) {
      this.blank = Math.min(this.blank, this.column);
      for (const char of text) this.chars[this.column++] = [char, this.names];
    }
    erase(parameters) {
      if (parameters === "" || parameters === "0") this.chars.length = Math.min(this.chars.length, this.column);
      else if (parameters === "2") {
        this.chars.length = Math.min(this.blank, this.column);
        while (this.chars.length < this.column) this.chars.push([" ", ""]);
        this.blank = this.column;
      }
    }
    line(end) {
      this.open.before(...this.shown(), end);
      this.chars = [];
      this.column = this.blank = 0;
    }
    shown() {
      const nodes = [];
      for (let i = 0; i < this.chars.length; ) {
        const names = this.chars[i][1];
        let text = "";
        while (i < this.chars.length && this.chars[i][1] === names) text += this.chars[i++][0];
        const inside = linked(text);
        if (names) {
          const span = document.createElement("span");
          span.className = names;
          span.append(...inside);
          nodes.push(span);
        } else nodes.push(...inside);
      }
      return nodes;
    }
    restyle(parameters) {
      const numbers = parameters.split(/[;:]/).map((each) => (/^\d+$/.test(each) ? Number(each) : 0));
      const style = this.style;
      while (numbers.length) {
        const n = numbers.shift();
        if (n === 0) Object.assign(style, { front: null, back: null, flags: new Set() });
        else if (ON[n]) style.flags.add(ON[n]);
        else if (OFF[n]) OFF[n].forEach((each) => style.flags.delete(each));
        else if (n === 38 || n === 48) {
          const kind = numbers.shift();
          let colour = null;
          if (kind === 5 && numbers.length) colour = of256(numbers.shift());
          else if (kind === 2 && numbers.length >= 3) colour = nearest(...numbers.splice(0, 3));
          if (colour !== null) style[n === 38 ? "front" : "back"] = colour;
        } else if (n === 39) style.front = null;
        else if (n === 49) style.back = null;
        else
          for (const [first, name, base] of [[30, "front", 0], [40, "back", 0], [90, "front", 8], [100, "back", 8]])
            if (n >= first && n < first + 8) style[name] = base + n - first;
      }
      let { front, back } = style;
      if (style.flags.has("inverse")) [front, back] = [back ?? 16, front ?? 17];
      const flags = [...style.flags].filter((each) => each !== "inverse").map((each) => `a-${each}`).sort();
      this.names = [front === null ? "" : `f${front}`, back === null ? "" : `g${back}`, ...flags].filter(Boolean).join(" ");
    }
  }
  const visible = (text) =>
    text
      .replace(/[\x00-\x08\x0b-\x1f]/g, (each) => String.fromCharCode(0x2400 + each.charCodeAt(0)))
      .replace(/\x7f/g, "\u2421")
      .replace(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
  const linked = (raw) => {
    const text = visible(raw), nodes = [];
    let at = 0;
    for (const found of text.matchAll(/https?:\/\/[^\s<>"'`\x00-\x1f\u2400-\u2421]+/gu)) {
      const link = found[0].replace(/[.,;:!?)\]}]+$/, "");
      if (found.index > at) nodes.push(text.slice(at, found.index));
      const a = document.createElement("a");
      a.href = link;
      a.rel = "noopener noreferrer nofollow";
      a.textContent = link;
      nodes.push(a);
      at = found.index + link.length;
    }
    if (at < text.length) nodes.push(text.slice(at));
    return nodes;
  };
  window.pikaLog = LogHtml;

  // A log that is followed for long loses its earliest lines, and a gap says so.
  const MOST_KEPT = 1e6;
  class Kept {
    constructor(pre, base) {
      this.pre = pre;
      this.base = base;
      this.begin = Number(pre.dataset.begin);
      this.chunks = []; // of whole lines: their last node, the offset after it, their size
      this.size = this.since = pre.textContent.length;
      this.unfinished = "";
    }
    add(text, offset, node) {
      this.size += text.length;
      this.since += text.length;
      const end = text.lastIndexOf("\n") + 1;
      this.unfinished = end ? text.slice(end) : this.unfinished + text;
      if (end && node) {
        const to = offset - new TextEncoder().encode(this.unfinished).length;
        this.chunks.push([node, to, this.since - this.unfinished.length]);
        this.since = this.unfinished.length;
      }
      let dropped = null;
      while (this.size > MOST_KEPT && this.chunks.length > 1) {
        dropped = this.chunks.shift();
        this.size -= dropped[2];
      }
      if (dropped) this.drop(...dropped);
    }
    drop(node, to) {
      const range = document.createRange();
      range.setStart(this.pre, 0);
      range.setEndAfter(node);
      range.deleteContents();
      let link = this.pre.previousElementSibling?.matches(".gap") && this.pre.previousElementSibling.querySelector("a[data-fill]");
      if (!link) {
        const gap = document.createElement("p");
        gap.className = "gap";
        link = document.createElement("a");
        link.href = `${this.base}&offset=${this.begin}`;
        Object.assign(link.dataset, { fill: `${this.base}&bare=1`, from: this.begin });
        gap.append(link);
        this.pre.before(gap);
      }
      link.dataset.to = this.begin = to;
      between(link);
    }
  }
  const between = (link) => {
    const size = Number(link.dataset.to) - Number(link.dataset.from);
    link.textContent = `Show more of the ${Math.ceil(size / 1000)} kB between`;
  };

  const follow = (section) => {
    const scroll = section.querySelector(".scroll");
    const pre = scroll.querySelector("pre:last-of-type");
    const said = section.querySelector("[data-following]");
    const kept = new Kept(pre, section.dataset.log), log = new LogHtml(pre);
    let offset = Number(section.dataset.offset), source = null, isOver = false;
    scroll.scrollTop = scroll.scrollHeight;
    const close = () => source && (source.close(), (source = null));
    const end = (text) => {
      isOver = true;
      close();
      if (said) said.textContent = text;
    };
    const open = () => {
      if (isOver || source || document.hidden) return;
      source = new EventSource(`${section.dataset.stream}&offset=${offset}`);
      source.onmessage = (event) => {
        const isAtEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
        const { text } = JSON.parse(event.data);
        scroll.querySelector(".empty")?.remove();
        log.feed(text);
        offset = Number(event.lastEventId) || offset;
        section.dataset.offset = offset;
        kept.add(text, offset, log.open.previousSibling);
        if (isAtEnd) scroll.scrollTop = scroll.scrollHeight;
      };
      source.addEventListener("end", () => end("complete"));
      source.addEventListener("revoked", () => end("not yours to read any more; log in again"));
      source.addEventListener("gone", () => end("gone: it was removed"));
      source.onerror = () => {
        // The browser tries again by itself, with the last id; one that was refused is not asked again.
        if (source && source.readyState === EventSource.CLOSED) {
          close();
          if (said) said.textContent = "interrupted; load the page again";
        }
      };
    };
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    addEventListener("pagehide", close);
    addEventListener("pageshow", open);
    open();
  };
  const streaming = document.querySelector("[data-stream]");
  if (streaming) follow(streaming);

  // Gaps: the next part comes in its place, so long as there is more.
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-fill]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const gap = link.closest(".gap"), from = Number(link.dataset.from);
    link.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(`${link.dataset.fill}&offset=${from}&upto=${link.dataset.to}`);
      if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
      const next = Number(answer.headers.get("X-Next-Offset"));
      const pre = document.createElement("pre");
      pre.innerHTML = await answer.text();
      gap.before(pre);
      if (next >= Number(link.dataset.to) || next <= from) {
        gap.remove();
        pre.tabIndex = -1;
        pre.focus({ preventScroll: true });
        return;
      }
      link.dataset.from = next;
      link.href = `${link.dataset.fill.replace("&bare=1", "")}&offset=${next}`;
      between(link);
      link.removeAttribute("aria-busy");
    } catch {
      location.assign(link.href);
    }
  });
})();
