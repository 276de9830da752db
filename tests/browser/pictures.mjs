// Every view as a picture, to be looked at: empty, learning, calm, incident, past; light and dark, desktop and phone.
// `pictures.mjs FOLDER` takes about five minutes: it follows the demo through its story.

import {Laghound, DESKTOP, launch, open, PHONE, shut, until} from "./world.mjs";
import {jaeger, requests} from "./spans.mjs";

const folder = process.argv[2];
const LOOKS = [["dark", DESKTOP, "desktop"], ["light", DESKTOP, "desktop"], ["dark", PHONE, "phone"], ["light", PHONE, "phone"]];
const settled = (page) => new Promise((resolve) => setTimeout(resolve, 1500)).then(() => page);

/** Draws what is at `hash` in every look; `act` brings the page there. */
async function draw(laghound, name, hash, act = async () => {}, looks = LOOKS) {
  for (const [theme, viewport, size] of looks) {
    const page = await open(laghound, hash, {theme, viewport});
    await settled(page);
    await act(page);
    await page.screenshot({path: `${folder}/${name}-${size}-${theme}.png`, fullPage: true});
    await page.close();
  }
  console.log(name);
}

await launch();
const server = await Laghound.serve();
const demo = await Laghound.demo(300);
try {
  await draw(server, "empty", "#/now");
  await draw(server, "empty-baselines", "#/baselines", undefined, LOOKS.slice(0, 1));
  await draw(server, "compare", "#/compare", async (page) => {
    await page.evaluate((files) => {
      const dataTransfer = new DataTransfer();
      for (const [name, content] of files) dataTransfer.items.add(new File([content], name));
      document.querySelector("[data-side=baseline]").dispatchEvent(new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer}));
      document.getElementById("go").click();
    }, [["normal.json", jaeger(20)], ["slow.json", jaeger(320)]]);
    await page.says("In time");
  });
  await draw(demo, "learning", "#/now");
  await server.send(requests(["storefront"], ["GET /cart", "POST /checkout"], Date.now()));
  await until("it has learned", async () => !(await demo.api("now")).learning, 120);
  await draw(demo, "calm", "#/now");
  await draw(demo, "baselines", "#/baselines?service=cart");
  await draw(demo, "baseline", "#/baselines?service=cart&operation=GET+%2Fcart&kind=SPAN_KIND_SERVER&of=cart");
  await until("something is slow", async () => (await demo.api("now")).incidents.length, 300);
  await new Promise((resolve) => setTimeout(resolve, 10000));
  await draw(demo, "now", "#/now");
  await draw(demo, "incident", "#/incident/1", async (page) => { await page.finds("#pair-body table"); });
  const {traces} = await demo.api("traces?limit=500");
  await draw(demo, "trace", `#/trace/${traces.find((one) => one.role === "slowest").trace_id}`, undefined, LOOKS.slice(0, 3));
  await draw(demo, "health", "#/health");
  const [theme, viewport, size] = LOOKS[0];
  const page = await open(server, "#/now", {theme, viewport});
  await page.finds("[data-state=live]");
  await server.stop();
  await page.says("The connection is lost", 30);
  await page.screenshot({path: `${folder}/lost-${size}-${theme}.png`, fullPage: true});
} finally {
  await shut();
  await Promise.all([server.stop(), demo.stop()]);
}
