/** The choice of the model, kept in this browser. */

import { listModels } from "./api.js";
import { byId, el } from "./dom.js";

const KEY = "verbatim:model";

export class ModelPicker {
  constructor() {
    this.select = byId("model");
    this.select.addEventListener("change", () => localStorage.setItem(KEY, this.select.value));
  }

  /** With one model there is nothing to choose, but its name is worth showing. */
  async load() {
    const models = await listModels();
    const kept = localStorage.getItem(KEY);
    const chosen = models.find(({ name }) => name === kept) ?? models.find((model) => model.default) ?? models[0];
    this.select.replaceChildren(...models.map(({ name, label }) => el("option", { value: name }, [label || name])));
    if (chosen !== undefined) this.select.value = chosen.name;
    this.select.disabled = models.length < 2;
    byId("model-picker").hidden = models.length === 0;
  }

  /** @returns {string|null} null: whatever the server's default is */
  get value() {
    return this.select.value || null;
  }
}
