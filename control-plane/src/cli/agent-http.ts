import { CliError, type Io } from './io.ts';

/** One agent's local HTTP, as the commands about calls use it. */
export interface AgentHttp {
  json<T>(path: string): Promise<T>;
  text(path: string): Promise<string>;
  bytes(path: string): Promise<Uint8Array>;
}

/** `base`: where the agent was told to serve it (`--admin`), `127.0.0.1:8081` or a URL. */
export function agentHttp(base: string, io: Io): AgentHttp {
  const root = /^https?:\/\//.test(base) ? base.replace(/\/+$/, '') : `http://${base}`;
  if (!URL.canParse(root)) throw new CliError(`--admin: found ${JSON.stringify(base)}; allowed: HOST:PORT or a URL`);
  const get = async (path: string): Promise<Response> => {
    let response: Response;
    try {
      response = await (io.fetch ?? fetch)(`${root}${path}`, { signal: AbortSignal.timeout(10_000) });
    } catch (error) {
      const why = (error as { cause?: Error }).cause?.message ?? (error as Error).message;
      throw new CliError(`agent at ${root}: ${why}; is it running, and is --admin the one that it serves?`);
    }
    if (response.ok) return response;
    const body = (await response.json().catch(() => ({}))) as { error?: string };
    throw new CliError(`agent at ${root}: ${body.error ?? `${response.status} ${response.statusText}`}`);
  };
  return {
    json: async <T>(path: string) => (await (await get(path)).json()) as T,
    text: async (path) => (await get(path)).text(),
    bytes: async (path) => new Uint8Array(await (await get(path)).arrayBuffer()),
  };
}
