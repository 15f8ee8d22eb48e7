// Builds elements. Text is always set as text, so that nothing from a workbook becomes markup.

/**
 * Returns an element. `props` holds attributes; keys that start with `on` are event listeners, `true`
 * sets an empty attribute, and `false`, `null` and `undefined` leave it out. Children are elements,
 * texts, or lists of them.
 */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for elements of SVG. */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), (event) => handle(value, event));
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** Calls a listener, and shows the error of an action that failed. */
function handle(listener, event) {
  listener(event)?.catch?.((error) => notify(error.message, "error"));
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Replaces the content of an element. */
export function show(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/** Says something short: visible, and read by a screen reader. Errors stay longer. */
export function notify(text, kind = "info") {
  const place = document.getElementById("notice");
  clearTimeout(notify.timer);
  place.className = `notice ${kind}`;
  place.textContent = text;
  notify.timer = setTimeout(() => {
    place.textContent = "";
    place.className = "notice";
  }, kind === "error" ? 12000 : 4000);
}

/** Asks before something that cannot be undone, or that concerns many rows. Resolves to true or false. */
export function confirm(title, text, action) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { "aria-labelledby": "confirm-title", onclose: () => (resolve(dialog.returnValue === "yes"), dialog.remove()) },
      h("h2", { id: "confirm-title" }, title),
      h("p", {}, text),
      h(
        "div",
        { class: "actions" },
        h("button", { type: "button", class: "primary", onclick: () => dialog.close("yes") }, action),
        h("button", { type: "button", onclick: () => dialog.close("no") }, "Cancel"),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}
