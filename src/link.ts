import { constants, copyFile, link, open } from 'node:fs/promises';
import { errorCode, ioError, syncFile } from './atomic.ts';
import { reach } from './fault.ts';

/**
 * Makes `to` a second name of the file `from`, so that its bytes are on the disk once and stay until the last name is
 * deleted; where the file system has no such thing, a copy that is flushed. `to` must not exist.
 */
export async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    reach('link');
    try {
      await link(from, to);
    } catch (thrown) {
      if (!NO_LINKS.has(errorCode(thrown) ?? '')) throw thrown;
      await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
      const handle = await open(to, 'r+');
      await syncFile(handle).finally(() => handle.close());
    }
  } catch (thrown) {
    throw ioError(thrown, 'link', to);
  }
}

/** What a file system answers that has no hard links, has another volume there, or counts no more names of one file. */
const NO_LINKS = new Set(['EPERM', 'EXDEV', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EINVAL']);
