// How long one tool call takes, as a client sees it:
//     node time.mjs http://127.0.0.1:7777/api/v1/mcp [API key] [calls]
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [url, key, calls = '500'] = process.argv.slice(2);
const client = new Client({ name: 'time', version: '1' });
const time = async action => {
    const from = performance.now();
    await action();
    return performance.now() - from;
};
const connect = await time(() => client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: key ? { Authorization: `Bearer ${key}` } : {} } })));
const list = await time(() => client.listTools());
const times = [];
for (let i = 0; i < Number(calls); i++) {
    times.push(await time(() => client.callTool({ name: 'list_vms', arguments: {} })));
}

times.sort((a, b) => a - b);
const at = share => times[Math.min(times.length - 1, Math.floor(share * times.length))].toFixed(2);
console.log(`connect ${connect.toFixed(1)} ms, list tools ${list.toFixed(1)} ms, list_vms: median ${at(0.5)} ms, p95 ${at(0.95)} ms, n ${times.length}`);
await client.close();
