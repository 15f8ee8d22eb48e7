// The API as a page, made from openapi.json.

import { h, show } from "./dom.js";

const content = document.getElementById("content");
const api = await (await fetch("/assets/openapi.json")).json();
const schemas = api.components.schemas;

const METHODS = ["get", "post", "delete"];
const routes = Object.entries(api.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method]).map((method) => ({ path, method, ...item[method] })));
const anchor = ({ method, path }) => `${method}${path.replaceAll(/[^a-z0-9]+/gi, "-")}`;

show(
  content,
  h("p", {}, "Requests need ", h("code", {}, "Authorization: Bearer TOKEN"), ". Errors are problem details (RFC 9457)."),
  h("section", { "aria-label": "Requests" }, h("ul", { class: "bars" }, routes.map((route) => h("li", {}, h("a", { href: `#${anchor(route)}` }, title(route)), h("span", { class: "muted note" }, route.summary))))),
  routes.map(section),
  h("h2", { id: "types" }, "Types"),
  Object.entries(schemas).map(([name, schema]) => h("section", { id: `type-${name}` }, h("h3", {}, name), schema.description && h("p", {}, schema.description), fields(schema))),
);
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();

function title(route) {
  return h("code", {}, `${route.method.toUpperCase()} ${route.path}`);
}

function section(route) {
  const parameters = route.parameters ?? [];
  const body = Object.entries(route.requestBody?.content ?? {});
  return h(
    "section",
    { id: anchor(route), "aria-labelledby": `${anchor(route)}-title` },
    h("h2", { id: `${anchor(route)}-title` }, title(route)),
    h("p", {}, [route.summary, route.description].filter(Boolean).join(" ")),
    parameters.length > 0 && table("Parameters", parameters.map((p) => [p.name, [kind(p.schema), ` in ${p.in}${p.required ? "" : ", optional"}`], p.description])),
    body.map(([media, { schema }]) => h("p", {}, "Body: ", kind(schema), ` as ${media}`)),
    table("Answers", Object.entries(route.responses).map(([status, given]) => [status, given.$ref ? api.components.responses[given.$ref.split("/").at(-1)] : given]).map(([status, answer]) => [status, Object.values(answer.content ?? {}).map((c) => kind(c.schema)), answer.description])),
  );
}

function table(name, rows) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": name },
    h("table", {}, h("thead", {}, h("tr", {}, [name, "Type", "Meaning"].map((text) => h("th", { scope: "col" }, text)))), h("tbody", {}, rows.map(([first, type, meaning]) => h("tr", {}, h("td", {}, h("code", {}, first)), h("td", {}, type), h("td", {}, meaning ?? ""))))),
  );
}

function fields(schema) {
  if (schema.allOf) return schema.allOf.map((part) => (part.$ref ? h("p", {}, "All of ", kind(part)) : fields(part)));
  if (!schema.properties) return h("p", {}, kind(schema));
  const required = schema.required ?? [];
  return table("Field", Object.entries(schema.properties).map(([name, field]) => [name, [kind(field), required.includes(name) ? "" : ", optional"], field.description]));
}

/** The type of a schema in words. */
function kind(schema) {
  if (!schema) return "any";
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return h("a", { href: `#type-${name}` }, name);
  }
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return choices.flatMap((one, at) => [at ? " or " : "", kind(one)]);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  const types = [schema.type ?? "any"].flat();
  if (types.includes("array")) return ["list of ", kind(schema.items)];
  if (schema.additionalProperties) return ["object of ", kind(schema.additionalProperties)];
  if (schema.properties) return ["{ ", Object.entries(schema.properties).flatMap(([name, field], at) => [at ? ", " : "", `${name}: `, kind(field)]), " }"];
  return types.join(" or ");
}
