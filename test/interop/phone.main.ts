import { createInterface } from 'node:readline';
import { Phone } from './phone.ts';
import { type LineTransport, openLine } from './phone-line.ts';

/**
 * A {@link Phone} as a process of its own, inside a test's namespace: `phone.main.ts TRANSPORT HOST PORT USER PASSWORD DOMAIN`. Registers, answers calls, and
 * does what lines on its input say: `reconnect` opens another connection and registers over it, `hangup` ends every call that is up.
 * Prints `registered`, `up N`, `over N` as the numbers change, `lost` when its connection has ended.
 */
const [transport, host, port, user, password, domain] = process.argv.slice(2) as [
  LineTransport,
  string,
  string,
  string,
  string,
  string,
];
const say = (text: string) => process.stdout.write(`${text}\n`);
const open = async () => {
  const line = await openLine(transport, { host, port: Number(port) });
  void line.closed.then(() => say('lost'));
  return line;
};

const phone = new Phone(await open(), { user, password, domain });
const register = async () => say((await phone.register()).at(-1) === 200 ? 'registered' : 'refused');
await register();

/** Says a number where it has changed. */
function watch(what: string, now: () => number): void {
  let said = 0;
  setInterval(() => {
    if (now() !== said) say(`${what} ${now()}`);
    said = now();
  }, 50);
}
watch('up', () => phone.calls.length);
watch('over', () => phone.ended.size);

for await (const command of createInterface({ input: process.stdin })) {
  if (command === 'reconnect') {
    phone.moveTo(await open());
    await register();
  } else if (command === 'hangup') {
    let done = 0;
    await Promise.all(phone.calls.map(async (call) => (await call.hangUp()).status === 200 && done++));
    say(`ended ${done}`);
  }
}
