// Runs calls through supabase-management-js, for management_test.go: reads {baseUrl, accessToken, calls: [[method,
// ...arguments], …]} from standard input and writes what each gave, one JSON object a line. Of a failure that is the
// library's own error.
import { text } from "node:stream/consumers";
import { SupabaseManagementAPI } from "supabase-management-js";

const { baseUrl, accessToken, calls } = JSON.parse(await text(process.stdin));
const api = new SupabaseManagementAPI({ baseUrl, accessToken });
for (const [method, ...args] of calls) {
  let result;
  try {
    const { status, data } = await api[method](...args);
    result = { status, data: data ?? null };
  } catch (error) {
    result = { status: error.status ?? 0, error: error.message, data: error.data ?? null };
  }
  console.log(JSON.stringify(result));
}
