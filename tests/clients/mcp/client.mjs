// Drives a daemon over the Model Context Protocol as an agent would, with the protocol's own client library:
//     node client.mjs http://127.0.0.1:7777/api/v1/mcp [API key]
// The daemon has a plugin 'hello' with the action 'say' and no VM named 'agent-1'. Exits with 0 when everything was as it should be.
import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [url, key] = process.argv.slice(2);
const client = new Client({ name: 'client-test', version: '1' });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: key ? { Authorization: `Bearer ${key}` } : {} } }));

// The client validates structured content against the output schema of the tool.
const call = async (name, args = {}) => {
    const result = await client.callTool({ name, arguments: args });
    assert.ok(!result.isError, `${name}: ${JSON.stringify(result.content)}`);
    assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent, `${name}: text and structured content differ`);
    return result.structuredContent;
};
const fail = async (name, args = {}) => {
    const result = await client.callTool({ name, arguments: args });
    assert.ok(result.isError, `${name} should have failed: ${JSON.stringify(result)}`);
    return JSON.parse(result.content[0].text);
};

assert.equal(client.getServerVersion().name, 'volant');
const { tools } = await client.listTools();
for (const tool of tools) {
    assert.ok(tool.description.length > 20 && tool.title && tool.annotations && tool.outputSchema?.type === 'object', tool.name);
}

assert.ok((await call('list_plugins')).plugins.some(plugin => plugin.name === 'hello' && plugin.actions.includes('say')));
const created = await call('create_vm', { name: 'agent-1', plugin: 'hello', timeout_seconds: 55 });
assert.deepEqual([created.status, created.ready], ['running', true]);
assert.deepEqual((await call('list_vms', { status: 'running' })).vms.map(vm => vm.name), ['agent-1']);
assert.ok(Array.isArray((await call('get_vm_logs', { name: 'agent-1' })).lines));
const answer = await call('run_action', { plugin: 'hello', action: 'say', vm: 'agent-1', query: { n: '2' }, body: { text: 'Grüße' } });
assert.equal(answer.status, 200);
assert.match(answer.body, /n=2/);
assert.deepEqual(JSON.parse(answer.body.split('\n').at(-1)), { text: 'Grüße' });

assert.ok((await fail('run_command', { name: 'agent-1', command: [] })).errors.command);
assert.equal((await fail('run_command', { name: 'agent-2', command: ['uname', '-a'] })).code, 'vm_not_found');
assert.equal((await fail('create_vm', { name: 'agent-1', plugin: 'hello' })).code, 'vm_exists');
const missing = await fail('get_vm', { name: 'agent-2' });
assert.deepEqual([missing.code, /list_vms/.test(missing.next_step)], ['vm_not_found', true]);
assert.ok((await fail('list_vms', { colour: 'red' })).errors.colour);
await assert.rejects(client.callTool({ name: 'no_such_tool', arguments: {} }), /no_such_tool/);

assert.equal((await call('stop_vm', { name: 'agent-1', grace_seconds: 0 })).status, 'stopped');
assert.equal((await call('start_vm', { name: 'agent-1' })).ready, true);
assert.deepEqual(await call('delete_vm', { name: 'agent-1' }), { deleted: 'agent-1' });
assert.equal((await call('list_vms')).total, 0);
await client.close();
console.log(`ok: ${tools.length} tools`);
