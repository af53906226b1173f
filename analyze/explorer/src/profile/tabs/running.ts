import { element } from "../../base/element";
import { count } from "../../base/format";
import { short } from "../../base/text";
import { badge, copyable, empty, plainTable, raw, timeText } from "../../base/widgets";
import type { ProfilePage } from "../../contract";
import { containerName } from "../members";

/** Containers that were there a moment before the report was made. */
export function showRunning(into: HTMLElement, page: ProfilePage): void {
  if (page.running.length === 0) {
    into.append(
      empty("No running containers", element("p", {}, "No container of this image has a snapshot among the newest.")),
    );
    return;
  }
  const unknown = page.running.filter((one) => one.digest_known === false).length;
  into.append(
    element(
      "p",
      { class: "lead" },
      `${count(page.running.length, "container")} with a snapshot among the newest.`,
      unknown > 0 && ` ${count(unknown, "runs", "run")} of a digest that this profile has not seen.`,
    ),
  );
  into.append(
    plainTable(
      "Running containers",
      ["Container", "Host", "Started, UTC", "Last window to, UTC", "Digest", "Labels"],
      element(
        "tbody",
        {},
        page.running.map((one) =>
          element(
            "tr",
            {},
            element("th", { scope: "row" }, raw(short(containerName(one), 50))),
            element("td", {}, raw(short(one.host, 50))),
            element("td", { class: "number nowrap" }, timeText(one.started)),
            element("td", { class: "number nowrap" }, timeText(one.window_end)),
            element(
              "td",
              {},
              one.digest === null
                ? "unknown"
                : [
                    copyable(one.digest, "digest", element("span", {}, short(one.digest, 22))),
                    one.digest_known === false && badge("not in the profile", "warning"),
                  ],
            ),
            element(
              "td",
              { class: "labels" },
              Object.entries(one.labels).map(([name, value]) =>
                element(
                  "span",
                  { class: "label" },
                  element("span", { class: "muted" }, short(name, 40), "="),
                  raw(short(value, 50)),
                ),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}
