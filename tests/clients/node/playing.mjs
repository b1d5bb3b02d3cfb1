// What the scenarios of every client have in common: how an outcome is told.
export async function failing(work, described) {
  try {
    await work();
    return { raised: false };
  } catch (error) {
    return { raised: true, ...described(error) };
  }
}

export async function timed(work, described) {
  const began = performance.now();
  return { ...(await failing(work, described)), seconds: (performance.now() - began) / 1000 };
}

export async function gathered(work, described) {
  const seen = [];
  const outcome = await failing(() => work(seen), described);
  return { ...outcome, text: seen.join(''), pieces: seen.filter((piece) => piece).length };
}

export async function play(scenarios) {
  const outcomes = {};
  for (const [name, run] of Object.entries(scenarios)) {
    try {
      outcomes[name] = await run();
    } catch (error) {
      outcomes[name] = { broken: String(error?.stack ?? error) };
    }
  }
  return outcomes;
}
