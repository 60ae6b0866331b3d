// mongo.sh runs this in mongosh at every start: it initiates the replica set, creates the users, and
// gives the server's user its password and databases from the environment.

const { readFileSync } = require('fs');

const { MONGO_USER, MONGO_PASSWORD, MASTER_DB, TENANT_DB } = process.env;
const ROOT_PASSWORD = readFileSync('/data/db/.root-password', 'utf8');
const URI = 'mongodb://127.0.0.1:27017/?directConnection=true&serverSelectionTimeoutMS=2000';
const UNAUTHORIZED = 13;
const AUTHENTICATION_FAILED = 18;

/** Tries again until it succeeds or two minutes are over, since recovery after a crash takes time. */
function eventually(what, attempt) {
  const until = Date.now() + 120_000;
  let last = 'not yet';
  while (Date.now() < until) {
    try {
      if (attempt()) return;
    } catch (error) {
      last = error.message;
    }
    sleep(200);
  }
  throw new Error(`given up after two minutes: ${what} (${last})`);
}

/** Logs in; false if there is no such user or it has another password. */
function logIn(database, user, pwd) {
  try {
    database.auth(user, pwd);
    return true;
  } catch (error) {
    if (error.code === AUTHENTICATION_FAILED) return false;
    throw error;
  }
}

function setUp() {
  if (MONGO_USER === 'root') throw new Error('MONGO_USER must not be root, which is taken');

  let admin;
  eventually('MongoDB answers', () => {
    admin = new Mongo(URI).getDB('admin');
    return admin.runCommand({ hello: 1 }).ok;
  });

  // Until the first user exists, MongoDB lets connections from its own machine do this, and create
  // that user, without a login.
  const members = [{ _id: 0, host: 'mongo:27017' }];
  eventually('MongoDB is the primary of its replica set', () => {
    const hello = admin.runCommand({ hello: 1 });
    if (!hello.setName) admin.runCommand({ replSetInitiate: { _id: 'rs0', members } });
    return hello.isWritablePrimary;
  });

  if (!logIn(admin, 'root', ROOT_PASSWORD)) {
    try {
      admin.createUser({ user: 'root', pwd: ROOT_PASSWORD, roles: ['root'] });
    } catch (error) {
      if (error.code !== UNAUTHORIZED) throw error;
      throw new Error('the users in this volume are not of this set-up: .root-password is not theirs');
    }
    admin.auth('root', ROOT_PASSWORD);
  }

  const roles = [MASTER_DB, TENANT_DB].flatMap((db) => [
    { role: 'readWrite', db },
    { role: 'dbAdmin', db },
  ]);
  // The server checks how full the database is before it accepts another organization.
  roles.push({ role: 'clusterMonitor', db: 'admin' });
  if (admin.getUser(MONGO_USER)) {
    admin.updateUser(MONGO_USER, { pwd: MONGO_PASSWORD, roles });
  } else {
    admin.createUser({ user: MONGO_USER, pwd: MONGO_PASSWORD, roles });
  }
}

try {
  setUp();
} catch (error) {
  console.error(error.message);
  quit(1);
}
