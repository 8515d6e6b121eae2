// Drives the browser of a VM through the daemon as a person's automation would:
//     node client.mjs ws://127.0.0.1:7777/ws/v1/vms/NAME/devtools [API key]
// Exits with 0 when everything was as it should be.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const [url, key] = process.argv.slice(2);
const connect = () => chromium.connectOverCDP(url, { headers: key ? { 'X-Volant-API-Key': key } : {} });
const browser = await connect();
const context = await browser.newContext({ viewport: { width: 800, height: 600 } });

// Several pages at once over one WebSocket, each with its own state.
const titles = await Promise.all(Array.from({ length: 4 }, async (_, i) => {
    const page = await context.newPage();
    await page.setContent(`<title>page ${i}</title><button onclick="document.title += ' pressed'">press</button>`);
    await page.click('button');
    return page.title();
}));
assert.deepEqual(titles, [0, 1, 2, 3].map(i => `page ${i} pressed`));

// Large messages both ways: far more than any frame or window on the way.
const page = context.pages()[0];
const text = 'Grüße '.repeat(1_000_000);
assert.equal(await page.evaluate(value => value.length, text), text.length);
assert.equal((await page.evaluate(length => 'x'.repeat(length), 8_000_000)).length, 8_000_000);

// Events of the browser come by themselves, and a client that leaves does not end the browser.
const said = page.waitForEvent('console');
await page.evaluate(() => setTimeout(() => console.log('later'), 50));
assert.equal((await said).text(), 'later');
await context.close();
await browser.close();
const again = await connect();
assert.equal(again.version(), browser.version());
await again.close();
await assert.rejects(chromium.connectOverCDP(`${url}/none`, { headers: key ? { 'X-Volant-API-Key': key } : {} }));
console.log(`ok: ${again.version()}`);
process.exit(0);
