// Keys and mouse selections for the labelling panel around this element. It draws no text of the records: it listens,
// and sends {do, serial, ...}; `serial` says which page of texts the person was looking at.
const PAUSE = 150; // ms after a new text in which a click can only be the end of a double click
const PATIENCE = 5000; // ms until the kernel is said not to answer

function characters(text, units) {
  return Array.from(text.slice(0, units)).length; // Python counts code points, the browser UTF-16 units
}

// Offsets of a range within a text box, in characters; a selection that began or ended outside is cut to the box.
function offsets(box, range) {
  const text = box.textContent;
  const before = document.createRange();
  before.selectNodeContents(box);
  const inside = range.cloneRange();
  if (inside.compareBoundaryPoints(Range.START_TO_START, before) < 0) inside.setStart(before.startContainer, before.startOffset);
  if (inside.compareBoundaryPoints(Range.END_TO_END, before) > 0) inside.setEnd(before.endContainer, before.endOffset);
  before.setEnd(inside.startContainer, inside.startOffset);
  const start = before.toString().length;
  return [characters(text, start), characters(text, start + inside.toString().length)];
}

function attached(el) {
  return new Promise((resolve) => {
    const look = (left) => (el.isConnected || !left ? resolve() : requestAnimationFrame(() => look(left - 1)));
    look(600);
  });
}

function press(node, ...kinds) {
  const { left, top, width, height } = node.getBoundingClientRect(); // JupyterLab's menus look where the mouse is
  const at = { clientX: left + width / 2, clientY: top + height / 2, bubbles: true };
  for (const kind of kinds) {
    node.dispatchEvent(new PointerEvent(`pointer${kind}`, at)); // they listen to pointers
    node.dispatchEvent(new MouseEvent(`mouse${kind}`, at)); // and did to the mouse before version 4.6
  }
}

// Choose Run ▸ Run All Cells in JupyterLab's own menu, which is gone again before it could be drawn; where there is none,
// press the button that restarts the kernel first, and asks. Other front ends have neither: the kernel says what to do.
function runAllCells(root) {
  for (const title of document.querySelectorAll(".lm-MenuBar-item")) {
    press(title, "down");
    const item = document.querySelector('.lm-Menu-item[data-command="runmenu:run-all"]');
    if (item) {
      press(item, "move", "up");
      return true;
    }
    press(title, "down"); // closes it
  }
  const button = (root.closest(".jp-NotebookPanel") ?? document).querySelector('[data-command="notebook:restart-run-all"]');
  if (button) press(button, "down");
  return button !== null;
}

export default {
  async render({ model, el }) {
    const controller = new AbortController();
    const { signal } = controller;
    el.className = "ambo-keys";
    await attached(el);
    const root = el.closest(".ambo-panel");
    if (!root) return;
    root.tabIndex = 0;
    root.setAttribute("role", "region");
    root.setAttribute("aria-label", "Labelling panel");
    root.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab's own shortcuts stay quiet inside

    let waiting = null; // timer of a command that the kernel has not answered
    let shownAt = 0;
    const legend = () => {
      const page = model.get("single") ? "" : "Shift+1–9, 0 label the page · ";
      const hint = `1–9, 0 choose · ${page}Enter next · Backspace undo · s skip · f flag · Tab to the buttons · Esc leaves a field · ? help`;
      el.textContent = root.contains(document.activeElement) ? `Keys: ${hint}` : `Click the panel to use keys: ${hint}`;
      el.removeAttribute("role");
    };
    const wait = () => {
      clearTimeout(waiting);
      root.setAttribute("aria-busy", "true");
      waiting = setTimeout(() => {
        waiting = null;
        root.removeAttribute("aria-busy");
        el.setAttribute("role", "alert");
        el.textContent = "The kernel does not answer: the latest step may not be saved. Run the cell again; the panel goes on from the log.";
        el.classList.add("ambo-error");
      }, PATIENCE);
    };
    // A kernel may handle two messages that come together in either order: what was typed in a field goes first, and a
    // key or click that follows at once waits until the kernel has it.
    let settling = null;
    let queued = null;
    const settled = () => {
      clearTimeout(settling);
      settling = null;
      const run = queued;
      queued = null;
      run?.();
    };
    const send = (message, serial = model.get("serial")) => {
      if (settling !== null) {
        queued = () => send(message, serial);
        return;
      }
      wait();
      model.send({ serial, ...message });
    };
    // The end of a double click, and a key pressed before its text could be seen, must not label the next text.
    const tooSoon = (page = false) => (page || model.get("single")) && (waiting !== null || performance.now() - shownAt < PAUSE);

    // A key that does nothing is said to do nothing, when the person pauses.
    let early = 0;
    let telling = null;
    const tooEarly = () => {
      early += 1;
      clearTimeout(telling);
      telling = setTimeout(() => {
        model.send({ do: "early", start: early });
        early = 0;
      }, 400);
    };

    const answered = () => {
      clearTimeout(waiting);
      waiting = null;
      root.removeAttribute("aria-busy");
      el.classList.remove("ambo-error");
      legend();
      settled();
    };
    const shown = () => (shownAt = performance.now());
    // Of a page of texts the one that keys are for stays in sight, and a new page begins at its top.
    const follow = (node, block) => setTimeout(() => {
      if (!signal.aborted && !model.get("single") && root.contains(document.activeElement)) node()?.scrollIntoView({ block });
    }, 60); // the kernel draws the texts after it has answered
    const toRow = () => follow(() => root.querySelector(".ambo-now"), "nearest");
    const toTop = () => follow(() => (root.getBoundingClientRect().top < 0 ? root : null), "start");
    model.on("change:turn", answered);
    model.on("change:turn", toRow);
    model.on("change:serial", shown);
    model.on("change:serial", toTop);

    const on = (target, type, listener, capture = false) => target.addEventListener(type, listener, { signal, capture });

    const guideline = root.querySelector(".ambo-columns .ambo-fold");
    const left = (part) => part.getBoundingClientRect().left;
    if (guideline) requestAnimationFrame(() => (guideline.open = left(guideline) > left(root.querySelector(".ambo-row")) + 100)); // open beside the text, closed below it

    // JupyterLab leaves a page that was run where it was: the panel comes to the top, until the person moves or acts. Not
    // where another cell is the active one: the page was loaded again, or the person reads there.
    let moved = false;
    for (const kind of ["wheel", "pointerdown", "keydown"]) on(window, kind, () => (moved = true), true);
    const inView = (left) => {
      if (moved || signal.aborted || !left || !root.closest(".jp-Cell.jp-mod-active")) return;
      root.scrollIntoView({ block: "start" });
      setTimeout(() => inView(left - 1), 150); // figures above it may still be growing
    };
    inView(20);

    const help = () => {
      const fold = root.querySelector(".ambo-help details");
      fold.open = !fold.open;
      if (fold.open) fold.scrollIntoView({ block: "nearest" });
    };
    const act = (message, page = false) => (tooSoon(page) ? tooEarly() : send(message));
    const pressed = (event) => {
      if (event.isComposing || event.altKey) return;
      const target = event.target;
      const typing = target.matches("input, textarea, select, [contenteditable=true]");
      if (typing) {
        const submit = event.key === "Enter" && (target.tagName === "INPUT" || event.ctrlKey || event.metaKey);
        if (event.key === "Escape" || submit) {
          event.stopPropagation();
          const go = target.closest(".ambo-field")?.nextElementSibling;
          root.focus({ preventScroll: true }); // leaving a field hands its text to the kernel
          if (submit && target.tagName === "TEXTAREA") send({ do: "next" });
          else if (submit && go?.tagName === "BUTTON") go.click();
        }
        return;
      }
      if (event.ctrlKey || event.metaKey) return;
      const mark = target.closest("mark.ambo-evidence");
      if (mark && ["Enter", "Delete"].includes(event.key)) {
        const row = Number(mark.closest(".ambo-text").dataset.row);
        send({ do: "unmark", row, start: Number(mark.dataset.at) });
        root.focus({ preventScroll: true });
      } else if (target !== root && ["Enter", " ", "ArrowDown", "ArrowUp"].includes(event.key)) {
        return; // a button or a fold does its own work
      } else if (!/^[0-9]$/.test(event.key) && event.shiftKey && /^Digit[0-9]$/.test(event.code) && !model.get("single")) {
        if (!event.repeat) act({ do: "all", start: (Number(event.code.slice(5)) + 9) % 10 }, true);
      } else if (/^[0-9]$/.test(event.key)) {
        if (!event.repeat) act({ do: "digit", start: (Number(event.key) + 9) % 10 });
      } else {
        const known = { Enter: "next", Backspace: "undo", s: "skip", f: "flag" }[event.key];
        if (event.key === "?") help();
        else if (!known) {
          if (event.key.length === 1) event.stopPropagation(); // a letter that is no key of ours is none of the front end's either
          return;
        } else if (!event.repeat) known === "undo" ? send({ do: known }) : act({ do: known });
      }
      event.preventDefault();
      event.stopPropagation();
    };
    on(root, "keydown", pressed, true); // before the fields, which keep their keys to themselves
    // Ctrl+S saves the notebook: the window hears it before JupyterLab looks whether shortcuts are to stay quiet.
    on(window, "keydown", (event) => {
      if (!root.contains(event.target)) return;
      const saves = (event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "s";
      if (saves) root.removeAttribute("data-lm-suppress-shortcuts");
      else root.setAttribute("data-lm-suppress-shortcuts", "true");
    }, true);
    on(window, "keyup", () => root.setAttribute("data-lm-suppress-shortcuts", "true"), true);

    on(root, "change", (event) => {
      if (!event.target.matches("input, textarea")) return;
      clearTimeout(settling);
      settling = setTimeout(settled, 400);
    }, true);

    on(root, "click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.closest(".ambo-again") && runAllCells(root)) {
        event.stopPropagation();
        return;
      }
      const page = button.closest(".ambo-together") !== null; // a second click would label a page that nobody has seen
      if (event.detail && (page || button.closest(".ambo-moves")) && tooSoon(page)) {
        event.preventDefault();
        event.stopPropagation();
        return;
      }
      if (settling !== null) {
        event.preventDefault();
        event.stopPropagation();
        queued = () => button.click();
        return;
      }
      wait();
      if (event.detail) root.focus({ preventScroll: true }); // after the mouse, keys mean the panel, not that button
    }, true);

    on(document, "mouseup", () => {
      const selection = document.getSelection();
      if (!selection || selection.isCollapsed || !selection.rangeCount) return;
      const start = selection.anchorNode.parentElement?.closest(".ambo-text[data-row]");
      if (!start || !root.contains(start)) return;
      const [from, to] = offsets(start, selection.getRangeAt(0));
      selection.removeAllRanges();
      root.focus({ preventScroll: true });
      if (to > from) send({ do: "mark", row: Number(start.dataset.row), start: from, end: to });
    });
    on(root, "mouseup", (event) => {
      const mark = event.target.closest("mark.ambo-evidence");
      const box = event.target.closest(".ambo-text[data-row]");
      if (!box || !document.getSelection()?.isCollapsed) return;
      root.focus({ preventScroll: true });
      if (mark) send({ do: "unmark", row: Number(box.dataset.row), start: Number(mark.dataset.at) });
      else if (!model.get("single")) send({ do: "row", row: Number(box.dataset.row) });
    });

    on(root, "focusin", legend);
    on(root, "focusout", () => setTimeout(legend));
    legend();
    return () => {
      clearTimeout(waiting);
      clearTimeout(settling);
      clearTimeout(telling);
      controller.abort();
      model.off("change:turn", answered);
      model.off("change:turn", toRow);
      model.off("change:serial", toTop);
      model.off("change:serial", shown);
    };
  },
};
