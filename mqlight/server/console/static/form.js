// A form for the data of a request, made from its JSON Schema. What a form cannot show is edited as JSON.
import { h, plain, pretty } from "./dom.js";

const SCALARS = { string: "text", integer: "number", number: "number" };

export class Form {
  // `schema` is a JSON Schema or null.
  constructor(schema) {
    this.schema = schema;
    this.text = h("textarea", { rows: 6, spellcheck: "false", "aria-label": "Data, as JSON" });
    this.text.value = pretty(JSON.stringify(schema ? example(schema, schema) : ""));
    const field = schema ? build(schema, schema, "data", 0) : null;
    this.fields = field;
    this.asJson = field === null;
    this.swap = field ? h("button", { type: "button", class: "small", onclick: () => this.show(!this.asJson) }, "") : null;
    this.box = h("div", { class: "fields" });
    this.node = h("div", { class: "form" }, this.box, this.swap ?? h("p", { class: "quiet" }, schema ? "" : "This service has no types, so its data is edited as JSON."));
    this.show(this.asJson);
  }

  show(asJson) {
    if (asJson && !this.asJson) this.text.value = pretty(this.fields.json());
    this.asJson = asJson;
    this.box.replaceChildren(asJson ? h("label", {}, "Data, as JSON", this.text) : this.fields.node);
    if (this.swap) this.swap.textContent = asJson ? "Edit in a form" : "Edit as JSON";
  }

  // Return the data as JSON text. Numbers stay as they were typed.
  json() { return this.asJson ? this.text.value : this.fields.json(); }
}

function resolve(schema, root, depth = 0) {
  let at = schema;
  if (typeof at !== "object" || depth > 9) return {};
  for (let i = 0; at?.$ref && i < 20; i += 1) at = at.$ref.split("/").slice(1).reduce((node, part) => node?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], root);
  const rest = (at?.anyOf ?? at?.oneOf)?.filter((each) => each.type !== "null");
  return rest?.length === 1 && rest.length < (at.anyOf ?? at.oneOf).length ? { ...resolve(rest[0], root, depth + 1), nullable: true, ...("default" in at ? { default: at.default } : {}) } : at ?? {};
}

export function example(schema, root, depth = 0) {
  const at = resolve(schema, root);
  if ("default" in at) return at.default;
  if (at.nullable) return null;
  if (at.enum) return at.enum[0];
  if ("const" in at) return at.const;
  if (at.minimum > 0) return at.minimum;
  if (at.examples?.length) return at.examples[0];
  const type = Array.isArray(at.type) ? at.type[0] : at.type;
  if (type === "object" && depth < 6) return Object.fromEntries((at.required ?? []).map((name) => [name, example(at.properties?.[name] ?? {}, root, depth + 1)]));
  return { string: "", integer: 0, number: 0, boolean: false, array: [], object: {} }[type] ?? null;
}

// Return the node of a value and a function that returns its JSON; null if a form cannot show it.
function build(schema, root, name, depth) {
  const at = resolve(schema, root);
  const type = Array.isArray(at.type) ? at.type.find((each) => each !== "null") : at.type;
  const start = example(schema, root);
  const about = at.description ? h("span", { class: "quiet" }, plain(at.description)) : null;
  const label = (...content) => h("label", {}, h("span", {}, plain(at.title && depth === 0 ? at.title : name), about ? " " : "", about), ...content);
  if (at.enum) {
    const select = h("select", {}, at.enum.map((each) => h("option", { value: JSON.stringify(each) }, plain(each))));
    select.value = JSON.stringify(start ?? at.enum[0]);
    return { node: label(select), json: () => select.value };
  }
  if (type === "boolean") {
    const box = h("input", { type: "checkbox", ...(start ? { checked: true } : {}) });
    return { node: h("label", { class: "check" }, box, h("span", {}, plain(name), about ? " " : "", about)), json: () => String(box.checked) };
  }
  if (SCALARS[type]) {
    const text = type === "string";
    const input = h("input", { type: text ? "text" : "number", step: type === "integer" ? "1" : text ? null : "any", min: at.minimum, max: at.maximum, minlength: at.minLength, maxlength: at.maxLength, pattern: text ? at.pattern : null, required: !text && !at.nullable, autocomplete: "off", spellcheck: "false", placeholder: at.nullable ? "none" : at.format ?? null });
    input.value = start ?? "";
    return { node: label(input), json: () => (input.value === "" && at.nullable ? "null" : text ? JSON.stringify(input.value) : input.value || "0") };
  }
  if (type === "object" && at.properties && depth < 5) {
    const needed = new Set(at.required ?? []);
    const parts = Object.entries(at.properties).map(([key, inner]) => [key, build(inner, root, key, depth + 1) ?? raw(key, example(inner, root))]);
    const optional = new Map(parts.filter(([key]) => !needed.has(key)).map(([key, part]) => [key, part.json()]));
    const fields = parts.map(([, part]) => part.node);
    return {
      node: depth ? h("fieldset", {}, h("legend", {}, plain(name)), fields) : h("div", { class: "fields" }, fields),
      // An optional member that was not touched is left out: the service has its own default.
      json: () => `{${parts.filter(([key, part]) => needed.has(key) || part.json() !== optional.get(key)).map(([key, part]) => `${JSON.stringify(key)}:${part.json()}`).join(",")}}`,
    };
  }
  return depth ? raw(name, start) : null;
}

function raw(name, value) {
  const area = h("textarea", { rows: 2, spellcheck: "false" });
  area.value = JSON.stringify(value);
  return { node: h("label", {}, h("span", {}, `${plain(name)} `, h("span", { class: "quiet" }, "as JSON")), area), json: () => area.value || "null" };
}
