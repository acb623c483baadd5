/** Pictures of pages as a browser shows them, and what it asked the network for meanwhile. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** A Chromium: GROUND_CHROMIUM, or one on the PATH; undefined without one. */
export function findChromium(): string | undefined {
  const named = process.env.GROUND_CHROMIUM;
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'chrome', 'chrome-headless-shell'];
  const candidates = named === undefined ? names : [named];
  return candidates.find(name => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0);
}

/** What the browser asks for on its own behalf. */
const ITS_OWN = /(^|\.)(google\.com|googleapis\.com|gvt1\.com|gstatic\.com)$/;

/**
 * Takes a picture of a page on the disk, 1280 pixels wide and 3600 high. Every request that leaves the page is caught by a
 * proxy, which answers nothing; `requests` are their addresses.
 */
export async function screenshot(
  chromium: string,
  page: string,
  file: string,
): Promise<{ readonly file: string; readonly requests: readonly string[] }> {
  const requests: string[] = [];
  const note = (address: string): void => {
    const host = new URL(address).hostname;
    if (!ITS_OWN.test(host)) requests.push(address);
  };
  const proxy = createServer((request, response) => {
    note(request.url ?? '');
    response.writeHead(404).end();
  });
  proxy.on('connect', (request, socket) => {
    note(`https://${request.url}`);
    socket.destroy();
  });
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as AddressInfo;
  const profile = mkdtempSync(join(tmpdir(), 'ground-chromium-'));
  try {
    const flags = [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
      ...[`--user-data-dir=${profile}`, `--proxy-server=http://127.0.0.1:${port}`],
      ...['--window-size=1280,3600', `--screenshot=${file}`],
    ];
    await new Promise<void>((resolve, reject) => {
      const child = spawn(chromium, [...flags, pathToFileURL(page).href], { stdio: 'ignore' });
      child.on('error', reject);
      child.on('exit', code => (code === 0 ? resolve() : reject(new Error(`chromium ended with ${code}`))));
    });
  } finally {
    proxy.close();
    proxy.closeAllConnections();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
  return { file, requests };
}
