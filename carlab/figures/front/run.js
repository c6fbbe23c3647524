// One run as the parts of the view ask for it: content that Python sent, with what is derived from it.

const OVERLAY_SIDE = 640;
const MOST_OUTLINED = 31; // bits of a number, one a query

class Run {
  constructor(content, later) {
    Object.assign(this, content);
    this.later = later;
    this.last = this.steps.length - 1;
    this.overlays = new Map();
    this.dropStep = new Map(this.drops.map(drop => [drop[0], drop[1]]));
    this.margin = new Map(this.drops.map(drop => [drop[0], drop[2]]));
  }
  at(step) { return clamp(step, 0, this.last); }
  title(query) { return `${this.queries[query].number}. ${this.queries[query].name}`; }
  known(query) { return query >= 0 && query < this.queries.length; }
  // The step in which a query was last seen: its maps and prompted image are those of that step.
  seen(query, step) { return Math.min(this.at(step), this.dropStep.get(query) ?? this.last); }
  isDropped(query, step) { return (this.dropStep.get(query) ?? Infinity) <= this.at(step); }
  isActive(query, step) { return this.seen(query, step) === this.at(step); }
  score(query, step) { return this.scores[this.seen(query, step)][query]; }
  keptAt(step) { return this.steps[this.at(step)].active.filter(query => !this.isDropped(query, step)); }

  verdict(query, step) {
    const close = this.close.some(call => call[0] === query && call[1] <= this.at(step));
    return this.outcome(query, step) + (close ? ", a close call" : "");
  }
  outcome(query, step) {
    if (!this.isDropped(query, step)) return this.at(step) === this.last ? "kept" : "active";
    const margin = this.margin.get(query), at = `dropped at step ${this.dropStep.get(query) + 1}`;
    return margin === null || margin < -1e-6 ? at : `${at}, ${Math.max(margin, 0).toFixed(3)} below ${this.threshold.toFixed(3)}`;
  }

  // Queries that are painted together: those kept, the most telling ones; all of the step when none is.
  painted(query, step) {
    if (this.known(query)) return [query];
    const telling = queries => queries.filter(one => this.queries[one].telling);
    const kept = telling(this.keptAt(step));
    return kept.length ? kept : telling(this.steps[this.at(step)].active);
  }

  // The map of a query as bytes (255 is 1), at patches.
  map(layer, query, step) {
    const seen = this.steps[this.seen(query, step)], place = seen.active.indexOf(query);
    if (place < 0) return undefined;
    const name = layer === "CAM" ? "cams" : "masks", size = this.grid[0] * this.grid[1];
    this.maps ??= new Map();
    if (!this.maps.has(seen[name])) this.maps.set(seen[name], bytes(seen[name]));
    return this.maps.get(seen[name]).subarray(place * size, (place + 1) * size);
  }
  valueAt(layer, query, step, x, y) {
    const map = this.map(layer, query, step), [i, j] = this.grid;
    return map && map[clamp(Math.floor(y * i), 0, i - 1) * j + clamp(Math.floor(x * j), 0, j - 1)] / 255;
  }
  labelsOf(layer) {
    const name = layer === "regions" ? "regions" : "final";
    this.labels ??= {};
    return this.labels[name] ??= this[name] && labelMap(this[name]);
  }
  labelAt(layer, x, y) {
    const held = this.labelsOf(layer);
    return held ? held.labels[clamp(Math.floor(y * held.height), 0, held.height - 1) * held.width + clamp(Math.floor(x * held.width), 0, held.width - 1)] : 0;
  }
  prompted(query, step) { return this.steps[this.seen(query, step)].prompted?.[query]; }
  bitmap(picture) { return bitmap(picture, this.later); }

  // Paint and outlines of a layer, as two canvases; made once.
  overlay(layer, query, step) {
    const queries = this.painted(query, step);
    const key = layer === "final" || layer === "regions" ? `${layer} ${query}` : `${layer} ${this.at(step)} ${queries}`;
    if (!this.overlays.has(key)) {
      if (this.overlays.size > 60) this.overlays.clear();
      const labels = layer === "final" || layer === "regions";
      this.overlays.set(key, labels ? paintLabels(this, layer, query) : paintMaps(this, layer, queries, step));
    }
    return this.overlays.get(key);
  }
}
