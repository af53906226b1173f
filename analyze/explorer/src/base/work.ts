// Long lists are made in slices, so that the page answers in between.

/** Makes the first ones now, and the rest in slices. Calling what it returns stops it. */
export function inSlices<Item>(
  items: readonly Item[],
  now: number,
  make: (item: Item) => void,
  done: () => void = () => {},
): () => void {
  let at = 0;
  let stopped = false;
  for (; at < Math.min(now, items.length); at += 1) make(items[at] as Item);
  const slice = () => {
    if (stopped) return;
    const end = performance.now() + 12;
    while (at < items.length && performance.now() < end) {
      make(items[at] as Item);
      at += 1;
    }
    if (at < items.length) setTimeout(slice, 0);
    else done();
  };
  if (at < items.length) setTimeout(slice, 0);
  else done();
  return () => {
    stopped = true;
  };
}

/** Once, when calls have come to rest. */
export function afterRest(milliseconds: number, run: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | null = null;
  return () => {
    if (timer !== null) clearTimeout(timer);
    timer = setTimeout(run, milliseconds);
  };
}

/** Once, before the next frame. */
export function onFrame(run: () => void): () => void {
  let waits = false;
  return () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => {
      waits = false;
      run();
    });
  };
}
